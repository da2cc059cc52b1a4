"""The content index speeds up; it never decides, and never stands in the way."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Address, ContentIndex
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import START, Lab, noise

PACK = bytes(range(16))
OTHER = bytes(range(1, 17))
DIGESTS = [noise(n, 32) for n in range(5)]
DATA = noise(1, 3 * BLOCK_SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.sqlite"


def test_what_was_added_is_found_also_after_reopening(path: Path) -> None:
    index = ContentIndex(path)
    index.add_pack(PACK, DIGESTS[:3])
    index.close()
    index = ContentIndex(path)

    assert index.find(DIGESTS[:4]) == [Address(PACK, 0), Address(PACK, 1), Address(PACK, 2), None]
    assert index.find([]) == []
    index.close()


def test_many_digests_are_asked_at_once(path: Path) -> None:
    index = ContentIndex(path)
    digests = [noise(n, 32) for n in range(2500)]
    index.add_pack(PACK, digests)

    assert index.find(digests) == [Address(PACK, slot) for slot in range(2500)]
    index.close()


def test_dropped_packs_are_forgotten(path: Path) -> None:
    index = ContentIndex(path)
    index.add_pack(PACK, DIGESTS[:2])
    index.add_pack(OTHER, DIGESTS[2:])
    index.drop_packs([PACK])
    index.drop_packs([])

    assert index.find(DIGESTS) == [None, None, *(Address(OTHER, slot) for slot in range(3))]
    index.close()


def test_it_is_rebuilt_from_the_packs(lab: Lab) -> None:
    lab.back_up(DATA)
    lab.index.rebuild([])
    assert lab.index.find([lab.repository._packs.digest(DATA[:BLOCK_SIZE])]) == [None]
    lab.repository.rebuild_index(lab.index)

    assert lab.back_up(DATA, image_id="other").stored_bytes < BLOCK_SIZE


def test_damaged_packs_do_not_hinder_a_rebuild(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(DATA)
    for each in list(store.list("packs/")):
        store.replace(each.key, store.get(each.key)[:-1])
    store.put("packs/other", [b"?"])
    lab.opened().rebuild_index(lab.index)

    assert lab.index.find([lab.repository._packs.digest(DATA[:BLOCK_SIZE])]) == [None]


@pytest.mark.parametrize(
    "content", [b"no database at all" * 1000, b"", b"SQLite format 3\0" + bytes(5000)]
)
def test_a_file_that_cannot_be_used_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    index = ContentIndex(path)
    index.add_pack(PACK, DIGESTS)

    assert index.find(DIGESTS[:1]) == [Address(PACK, 0)]
    index.close()


def test_a_file_of_another_version_is_begun_anew(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    index = ContentIndex(path)
    index.add_pack(PACK, DIGESTS)

    assert index.find(DIGESTS[:1]) == [Address(PACK, 0)]
    index.close()


def test_damage_while_it_is_open_costs_what_was_known(path: Path) -> None:
    index = ContentIndex(path)
    index.add_pack(PACK, [noise(n, 32) for n in range(5000)])
    index.close()
    index = ContentIndex(path)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    index.find(DIGESTS)
    index.drop_packs([PACK])
    index.add_pack(OTHER, DIGESTS)
    index.add_pack(OTHER, DIGESTS)
    assert index.find(DIGESTS[:1]) == [Address(OTHER, 0)]
    index.close()


def test_a_folder_that_is_not_there_means_no_index(tmp_path: Path) -> None:
    index = ContentIndex(tmp_path / "missing" / "index.sqlite")
    index.add_pack(PACK, DIGESTS)
    index.drop_packs([PACK])

    assert index.find(DIGESTS) == [None] * 5
    index.close()


def test_many_threads_use_it(path: Path) -> None:
    index = ContentIndex(path)
    packs = [noise(100 + n, 16) for n in range(6)]
    digests = [[noise(1000 * n + i, 32) for i in range(50)] for n in range(6)]

    def work(n: int) -> None:
        index.add_pack(packs[n], digests[n])
        index.find(digests[n])

    threads = [threading.Thread(target=work, args=[n]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    for n in range(6):
        assert index.find(digests[n]) == [Address(packs[n], slot) for slot in range(50)]
    index.close()


@pytest.mark.parametrize("lie", ["other block", "no slot", "no pack", "a node"])
def test_a_lying_index_costs_space_only(lab: Lab, store: MemoryStore, lie: str) -> None:
    first = lab.back_up(DATA)
    root = first.images[0].root
    assert root is not None
    packs = {bytes.fromhex(each.key[-32:]) for each in store.list("packs/")} - {root.pack_id}
    wanted = noise(7, 2 * BLOCK_SIZE)
    digests = [
        lab.repository._packs.digest(wanted[i : i + BLOCK_SIZE])
        for i in range(0, len(wanted), BLOCK_SIZE)
    ]
    if lie == "other block":
        lab.index.add_pack(packs.pop(), digests)
    elif lie == "no slot":
        lab.index.add_pack(packs.pop(), [noise(n, 32) for n in range(50)] + digests)
    elif lie == "no pack":
        lab.index.add_pack(PACK, digests)
    else:
        lab.index.add_pack(root.pack_id, digests)
    second = lab.back_up(wanted, image_id="other")

    assert lab.restored(second, "other") == wanted
    assert second.stored_bytes > 2 * BLOCK_SIZE


def test_a_lost_index_costs_space_only(lab: Lab) -> None:
    first = lab.back_up(DATA)
    lab.index.close()
    lab.index_path.unlink()
    lab.index = ContentIndex(lab.index_path)
    again = lab.back_up(DATA, first.images[0])
    anew = lab.back_up(DATA, image_id="other")

    assert again.stored_bytes == 0  # the parent's addresses need no index
    assert anew.stored_bytes > 3 * BLOCK_SIZE
    assert lab.restored(anew, "other") == DATA


def test_a_closed_index_knows_nothing(lab: Lab) -> None:
    lab.index.close()
    manifest = lab.back_up(DATA)

    assert lab.restored(manifest) == DATA
    assert manifest.created_at == START
