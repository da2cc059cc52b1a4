"""How many requests a backup and a restore need: over a network each costs time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.store_url import S3Place
from csbs.repository import FETCH_SIZE_MAX, EncodedBlock
from csbs.repository.encoder import Outcome
from csbs.repository.objectstore import MemoryStore, MeteredStore
from csbs.repository.objectstore.s3 import S3Store
from csbs.testing.repositories import START, Lab, noise, write_image
from csbs.testing.s3_proxy import S3Proxy
from tests.integration.agent.engine import open_engine, serve
from tests.integration.blockio.servers import content, make_image
from tests.integration.s3.conftest import open_at

MIB = 1024**2
DISKS = 8


def test_small_changes_of_many_disks_travel_in_three_puts(store: S3Store, tmp_path: Path) -> None:
    metered = MeteredStore(store)
    lab = Lab(metered, tmp_path)
    before = metered.use
    writer = lab.begin()
    for number in range(DISKS):
        block = (noise(number)[:400] * 200)[:BLOCK_SIZE]  # compresses, as what is on disks does
        write_image(writer, 100 * BLOCK_SIZE, {number: block}, image_id=f"disk{number}")
    writer.commit(created_at=START, facts={})
    lab.close()

    asked = {name: count - before.calls.get(name, 0) for name, count in metered.use.calls.items()}
    # A pack of blocks, one of map nodes, and the manifest.
    assert asked.pop("put") == 3
    # The owners are listed at begin and commit, and each pack is looked at before the manifest.
    assert asked == {"list": 3, "get": 2}


def test_a_footer_and_a_check_of_a_pack_are_one_request_each(
    store: S3Store, lab: Lab, place: S3Place, proxy: S3Proxy
) -> None:
    manifest = lab.back_up(noise(1, 8 * BLOCK_SIZE))
    by_proxy = open_at(place, endpoint=proxy.endpoint)
    packs = lab.opened(by_proxy)._packs
    ids = [bytes.fromhex(info.key[-32:]) for info in store.list("packs/")]
    before = len(proxy.requests)
    for pack_id in ids:
        packs.footer(pack_id)
        packs.trailer(pack_id)

    assert manifest.images[0].nonzero_blocks == 8
    assert len(proxy.requests) - before == 2 * len(ids)


class _Meeting(MemoryStore):
    """Some gets wait until two of them are under way: one alone never ends."""

    def __init__(self) -> None:
        super().__init__()
        self._barrier = threading.Barrier(2, timeout=30)
        #: Which, by key and size.
        self.meets: Callable[[str, int | None], bool] = lambda _key, _size: False

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        data = super().get(key, offset=offset, size=size)
        if self.meets(key, size):
            self._barrier.wait()
        return data


def test_a_restore_has_a_read_for_each_writer_in_flight(tmp_path: Path) -> None:
    store = _Meeting()
    with open_engine(tmp_path, store) as engine:
        source, target = tmp_path / "source", tmp_path / "target"
        noise_file = tmp_path / "noise"
        noise_file.write_bytes(noise(1, 32 * MIB))
        make_image(source, "qcow2", 32 * MIB, f"write -s {noise_file} 0 32M")
        make_image(target, "qcow2", 32 * MIB)
        with serve(source, "qcow2") as server:
            image = engine.back_up(server.uri, 32 * MIB).image
        store.meets = lambda _, size: size is not None and size >= FETCH_SIZE_MAX // 2
        with serve(target, "qcow2", read_only=False) as server:
            engine.restore(image, server.uri, fresh=True)

        assert content(target, "qcow2") == content(source, "qcow2")


def test_a_rescan_reads_footers_in_each_of_its_threads(tmp_path: Path) -> None:
    store = _Meeting()
    lab = Lab(store, tmp_path)
    data = noise(1, 8 * BLOCK_SIZE)  # two packs of blocks
    parent = lab.back_up(data).images[0]
    of_blocks = {info.key for info in store.list("packs/") if info.size_bytes > 2 * BLOCK_SIZE}
    assert len(of_blocks) == 2
    encoder = lab.begin(lab.opened()).image("disk", len(data), parent=parent).encoder()
    store.meets = lambda key, _: key in of_blocks

    def rescan(first: int) -> list[EncodedBlock]:
        return encoder.encode(first, data[first * BLOCK_SIZE : (first + 4) * BLOCK_SIZE])

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(rescan, (0, 4)))
    lab.close()

    assert {block.outcome for blocks in found for block in blocks} == {Outcome.SAME}
