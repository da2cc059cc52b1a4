"""What the engine's lanes work with."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.aged import PACK_BLOCKS, AgedStore
from benchmarks.engine import data_blocks
from benchmarks.nbd_lanes import xored
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Address
from csbs.repository.objectstore import FolderStore
from csbs.repository.pack import Kind
from csbs.repository.pack_reader import PackReader


def test_blocks_with_data_are_found_in_a_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 20 * BLOCK_SIZE)
        for block in (0, 3, 4):
            os.pwrite(file.fileno(), b"x" * BLOCK_SIZE, block * BLOCK_SIZE)
    with path.open("rb") as file:
        assert data_blocks(file.fileno()) == [0, 3, 4]


def test_changed_blocks_are_new_and_compress_as_before() -> None:
    assert xored(b"aab", 1) == b"``c"


def test_each_pack_that_is_not_stored_reads_as_a_good_one(tmp_path: Path) -> None:
    inner = FolderStore(tmp_path / "store", min_free=lambda _: 0)
    inner.make()
    packs = PackReader(AgedStore(inner), bytes(32))
    for pack_id in (b"a" * 16, b"b" * 16):
        trailer, _ = packs.trailer(pack_id)
        assert (trailer.pack_id, trailer.slot_count) == (pack_id, PACK_BLOCKS)
        assert packs.find(Address(pack_id, PACK_BLOCKS - 1), Kind.BLOCK) is not None
