"""Reading images: ranges, plans, and bytes that are never wrong."""

from __future__ import annotations

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import ZERO
from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import HEADER_SIZE, Kind, pack_key
from csbs.repository.pack_reader import PackReader
from csbs.testing.faults import RecordingStore
from csbs.testing.repositories import START, Lab, noise, restored

DATA = noise(1, 3 * BLOCK_SIZE) + bytes(2 * BLOCK_SIZE) + b"text " * 5000


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, 10),
        (BLOCK_SIZE - 5, 10),
        (0, len(DATA)),
        (3 * BLOCK_SIZE - 1, 2 * BLOCK_SIZE + 2),
        (len(DATA) - 1, 100),
        (len(DATA), 1),
        (10**9, 1),
        (5, 0),
    ],
)
def test_any_range_is_read(lab: Lab, offset: int, size: int) -> None:
    reader = lab.repository.reader(lab.back_up(DATA).images[0])

    assert reader.read(offset, size) == DATA[offset : offset + size]


def test_a_pass_over_a_full_image_reads_each_pack_in_one_go(lab: Lab) -> None:
    manifest = lab.back_up(noise(1, 16 * BLOCK_SIZE))
    fetches = list(lab.repository.reader(manifest.images[0]).fetches())

    assert [[block for block, _ in each.blocks] for each in fetches] == [
        list(range(first, first + 4)) for first in (0, 4, 8, 12)
    ]
    assert {each.offset_bytes for each in fetches} == {HEADER_SIZE}


def test_a_fetch_has_at_most_its_size_or_one_frame(lab: Lab) -> None:
    reader = lab.repository.reader(lab.back_up(noise(1, 16 * BLOCK_SIZE)).images[0])

    assert {f.size_bytes for f in reader.fetches(fetch_size_max=1)} == {lab.raw_frame_size}
    largest = max(f.size_bytes for f in reader.fetches(fetch_size_max=150_000))
    assert largest == 2 * lab.raw_frame_size


def test_one_frame_may_be_many_blocks(lab: Lab) -> None:
    manifest = lab.back_up(noise(1) * 6)
    (fetch,) = lab.repository.reader(manifest.images[0]).fetches()

    assert [block for block, _ in fetch.blocks] == list(range(6))
    assert lab.restored(manifest) == noise(1) * 6


def test_a_fetch_has_so_many_blocks_that_their_plain_bytes_are_bounded(lab: Lab) -> None:
    manifest = lab.back_up(noise(1) * 17)
    reader = lab.repository.reader(manifest.images[0])
    fetches = list(reader.fetches(fetch_size_max=2 * BLOCK_SIZE))

    assert [len(each.blocks) for each in fetches] == [8, 8, 1]
    blocks = [block for each in fetches for block, _ in each.blocks]
    assert sorted(blocks) == list(range(17))


def test_a_small_gap_is_read_over_and_a_large_one_is_not(lab: Lab) -> None:
    first = lab.back_up(noise(1, 4 * BLOCK_SIZE))
    small = lab.back_up_blocks(4 * BLOCK_SIZE, {1: bytes(BLOCK_SIZE)}, first.images[0])
    large = lab.back_up_blocks(
        4 * BLOCK_SIZE, {1: bytes(BLOCK_SIZE), 2: bytes(BLOCK_SIZE)}, first.images[0]
    )

    assert len(list(lab.repository.reader(small.images[0]).fetches())) == 1
    assert len(list(lab.repository.reader(large.images[0]).fetches())) == 2


def test_a_disk_of_many_windows_comes_in_order(lab: Lab) -> None:
    blocks = {n: b"%d" % n * 100 for n in range(5000)}
    image = lab.back_up_blocks(5000 * BLOCK_SIZE, blocks).images[0]
    reader = lab.repository.reader(image)
    seen = [block for fetch in reader.fetches() for block, _ in fetch.blocks]

    assert sorted(seen) == list(range(5000))
    for fetch in list(reader.fetches())[::17]:
        for block, plain in reader.load(fetch):
            assert plain == (b"%d" % block * 100).ljust(BLOCK_SIZE, b"\0")


def test_runs_of_a_huge_hole_are_one(lab: Lab) -> None:
    size_bytes = 64 * 1024**4
    writer = lab.begin()
    image = writer.image("disk", size_bytes, parent=None)
    image.fill(10**9, 10**9 + 1, ZERO)
    written = image.finish()
    writer.commit(created_at=START, facts={})
    runs = list(lab.repository.reader(written).runs())

    assert [(run.first_block, run.end_block) for run in runs] == [
        (0, 10**9),
        (10**9, 10**9 + 1),
        (10**9 + 1, size_bytes // BLOCK_SIZE),
    ]


@pytest.mark.parametrize("place", ["header end", "middle", "footer", "trailer"])
def test_no_flipped_byte_is_ever_read_as_data(lab: Lab, store: MemoryStore, place: str) -> None:
    image = lab.back_up(DATA).images[0]
    key = pack_key(next(lab.repository.reader(image).fetches()).pack_id)
    data = bytearray(store.get(key))
    at = {
        "header end": HEADER_SIZE,
        "middle": HEADER_SIZE + 1000,
        "footer": len(data) - 120,
        "trailer": len(data) - 100,
    }[place]
    data[at] ^= 1
    store.replace(key, bytes(data))
    repository = lab.opened()

    with pytest.raises(CorruptObject, match=key):
        repository.reader(image).read(0, BLOCK_SIZE)
    with pytest.raises(CorruptObject, match=key):
        restored(repository, image)


def test_a_pack_cut_after_its_footer_was_read_is_damage(lab: Lab, store: MemoryStore) -> None:
    image = lab.back_up(DATA).images[0]
    reader = lab.repository.reader(image)
    fetch = next(reader.fetches())
    key = pack_key(fetch.pack_id)
    store.replace(key, store.get(key)[:5000])

    with pytest.raises(CorruptObject, match="slot 0"):
        reader.load(fetch)
    store.delete(key)
    with pytest.raises(MissingPack, match=fetch.pack_id.hex()):
        reader.load(fetch)


def test_a_missing_pack_is_named(lab: Lab, store: MemoryStore) -> None:
    image = lab.back_up(DATA).images[0]
    for each in list(store.list("packs/")):
        store.delete(each.key)

    with pytest.raises(MissingPack):
        lab.opened().reader(image).read(0, 1)


def test_a_pack_under_anothers_key_is_damage(lab: Lab, store: MemoryStore) -> None:
    image = lab.back_up(DATA).images[0]
    lab.back_up(noise(9), image_id="other")
    keys = [each.key for each in store.list("packs/")]
    data = [store.get(key) for key in keys]
    for key, other in zip(keys, data[1:] + data[:1], strict=True):
        store.replace(key, other)

    with pytest.raises(CorruptObject, match="expected pack"):
        lab.opened().reader(image).read(0, 1)


def test_a_block_is_never_taken_for_a_node(lab: Lab) -> None:
    image = lab.back_up(DATA).images[0]
    assert image.root is not None
    packs: PackReader = lab.repository._packs

    assert packs.find(image.root, Kind.BLOCK) is None
    with pytest.raises(CorruptObject, match="kind"):
        packs.frame(image.root, Kind.BLOCK)


def test_footers_are_kept_within_a_bound(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(noise(1, 16 * BLOCK_SIZE))
    recorded = RecordingStore(store)
    packs = PackReader(recorded, lab.repository._opened.keys.digest_key, cache_size_max=5000)
    ids = [bytes.fromhex(each.key[-32:]) for each in store.list("packs/")]
    for pack_id in [*ids, ids[-1]]:
        packs.footer(pack_id)
    before = len(recorded.calls)
    packs.footer(ids[0])

    assert len(ids) == 5
    assert before == len(ids)  # one request each
    assert len(recorded.calls) == before + 1
    packs.forget(ids)
    assert packs._cache_size == 0
