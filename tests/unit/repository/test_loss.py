"""A reader that is told to go on: what is lost reads as zero, and somebody hears of it."""

from __future__ import annotations

import pytest

from csbs.domain.errors import Corrupt
from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import DAMAGED, ZERO, Image, Loss, Manifest, VerifyWatch
from csbs.repository.damage import damage_of
from csbs.repository.errors import BlockDamaged
from csbs.repository.map_writer import MapWriter
from csbs.repository.node import FANOUT, Address
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import TRAILER_SIZE, pack_key
from csbs.repository.pack_reader import load_footer
from csbs.repository.reader import ImageReader
from csbs.testing.repositories import START, Lab, noise

SIZE_BYTES = 2 * FANOUT * BLOCK_SIZE
#: Blocks 0 to 3 fill a pack, 4 and 600 lie in the next.
BLOCKS = {n: noise(n) for n in (0, 1, 2, 3, 4, 600)}


class Told:
    """Hears of losses."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []

    def __call__(self, loss: Loss) -> None:
        self.losses.append(loss)

    @property
    def blocks(self) -> set[int]:
        return {
            block
            for loss in self.losses
            if loss.certain
            for block in range(loss.first_block, loss.end_block)
        }


def read_all(reader: ImageReader) -> bytes:
    """All bytes as a restore comes to them: zeroes first, then what is fetched."""
    image = reader.image
    data = bytearray(b"\xff" * block_count(image.size_bytes) * BLOCK_SIZE)
    for run in reader.runs():
        if run.state != 2:
            size = (run.end_block - run.first_block) * BLOCK_SIZE
            data[run.first_block * BLOCK_SIZE : run.end_block * BLOCK_SIZE] = bytes(size)
    for fetch in reader.fetches():
        for block, plain in reader.load(fetch):
            data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = plain
    return bytes(data)


def expected(lost: set[int]) -> bytes:
    data = bytearray(SIZE_BYTES)
    for block, plain in BLOCKS.items():
        if block not in lost:
            data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = plain
    return bytes(data)


@pytest.fixture
def manifest(lab: Lab) -> Manifest:
    return lab.back_up_blocks(SIZE_BYTES, BLOCKS)


def address_of(lab: Lab, image: Image, block: int) -> Address:
    fetch = next(lab.repository.reader(image).fetches([(block, block + 1)]))
    return Address(fetch.pack_id, fetch.blocks[0][1])


def spoil(store: MemoryStore, lab: Lab, image: Image, what: str) -> set[int]:
    """Does it, and returns the blocks that are lost by it."""
    address = address_of(lab, image, 1)
    key, root = pack_key(address.pack_id), image.root
    assert root is not None
    node_key = pack_key(root.pack_id)
    if what == "a frame":
        data = bytearray(store.get(key))
        data[int(load_footer(store, address.pack_id).offsets[address.slot])] ^= 1
        store.replace(key, bytes(data))
        return {1}
    if what == "a footer":
        data = bytearray(store.get(key))
        data[-TRAILER_SIZE - 1] ^= 1
        store.replace(key, bytes(data))
        return {0, 1, 2, 3}
    if what == "a pack":
        store.delete(key)
        return {0, 1, 2, 3}
    if what == "a leaf":
        data = bytearray(store.get(node_key))
        data[int(load_footer(store, root.pack_id).offsets[1]) + 1] ^= 1
        store.replace(node_key, bytes(data))
        return set(range(FANOUT, 2 * FANOUT))
    assert what == "the map"
    store.delete(node_key)
    return set(range(2 * FANOUT))


CASES = ["a frame", "a footer", "a pack", "a leaf", "the map"]


@pytest.mark.parametrize("what", CASES)
def test_what_is_lost_reads_as_zero_and_is_told(
    lab: Lab, store: MemoryStore, manifest: Manifest, what: str
) -> None:
    image = manifest.images[0]
    lost = spoil(store, lab, image, what)
    told = Told()
    data = read_all(lab.opened().reader(image, told))

    assert data == expected(lost)
    assert told.blocks == lost
    with pytest.raises(Corrupt):
        read_all(lab.opened().reader(image))


@pytest.mark.parametrize("what", CASES)
def test_what_was_told_is_enough_to_doubt_it(
    lab: Lab, store: MemoryStore, manifest: Manifest, what: str
) -> None:
    image = manifest.images[0]
    lost = spoil(store, lab, image, what)
    told = Told()
    read_all(lab.opened().reader(image, told))
    places = [(loss.pack_id, loss.slot) for loss in told.losses if loss.pack_id is not None]
    assert lab.opened().doubt(damage_of(places), found_at=START)
    runs = lab.opened().damaged_runs(image)

    assert {block for first, end in runs for block in range(first, end)} == lost


@pytest.mark.parametrize("what", CASES)
def test_who_raises_when_told_ends_the_reading(
    lab: Lab, store: MemoryStore, manifest: Manifest, what: str
) -> None:
    image = manifest.images[0]
    lost = spoil(store, lab, image, what)

    def refuse(loss: Loss) -> None:
        raise BlockDamaged("x", loss.first_block) from loss.why

    with pytest.raises(BlockDamaged) as raised:
        read_all(lab.opened().reader(image, refuse))
    assert raised.value.block in lost


def test_blocks_that_are_known_to_be_damaged_are_told_before_they_are_read(
    lab: Lab, manifest: Manifest
) -> None:
    image = manifest.images[0]
    address = address_of(lab, image, 600)
    lab.repository.doubt(damage_of([(address.pack_id, address.slot)]), found_at=START)
    told = Told()
    reader = lab.opened().reader(image, told)
    fetches = list(reader.fetches())
    for fetch in fetches:
        reader.tell_doubts(fetch)

    assert [(loss.first_block, loss.certain) for loss in told.losses] == [(600, False)]
    for fetch in fetches:
        reader.load(fetch)
    assert told.blocks == set()  # it could be read all the same


def test_of_a_pack_without_footer_nothing_is_the_same(
    lab: Lab, store: MemoryStore, manifest: Manifest
) -> None:
    image = manifest.images[0]
    spoil(store, lab, image, "a footer")
    reader = lab.opened().reader(image, Told())
    fetch = next(reader.fetches([(0, 4)]))

    assert reader.same(fetch, 0, BLOCKS[0]) == []
    assert reader.without(fetch, set()) == fetch


def test_what_the_map_gives_up_is_told_and_zero(lab: Lab, manifest: Manifest) -> None:
    """Nothing of ours writes such maps yet; the format has them."""
    del manifest
    writer = lab.begin()
    image_writer = writer.image("disk", SIZE_BYTES, parent=None)
    image_writer.write(0, image_writer.encoder().encode(0, BLOCKS[0]))
    maps: MapWriter = image_writer._map
    maps._fill(5, 7, DAMAGED)
    maps._position = 7
    image = image_writer.finish()
    writer.commit(created_at=START, facts={})
    told = Told()
    reader = lab.repository.reader(image, told)

    assert [run.state for run in reader.runs([(5, 7)])] == [ZERO]
    assert [fetch.blocks[0][0] for fetch in reader.fetches()] == [0]
    assert told.blocks == {5, 6}
    assert list(lab.repository.damaged_runs(image)) == []  # no slot is known to be damaged
    watch = VerifyWatch(progress=lambda _: None, cancelled=lambda: False)
    [named] = lab.repository.verify(None, found_at=START, watch=watch).images
    assert (named.image, named.ranges) == (image, ((5 * BLOCK_SIZE, 2 * BLOCK_SIZE),))
