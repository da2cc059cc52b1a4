"""A verification finds damage of each class of object, names what is lost, and keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csbs.domain.errors import OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import (
    EVERYTHING,
    Damage,
    Image,
    Manifest,
    Repository,
    Share,
    VerifyReport,
    VerifyWatch,
    verify_packs,
)
from csbs.repository.damage import damage_key, known_damage
from csbs.repository.errors import CorruptObject, ObjectExists, StoreDenied
from csbs.repository.node import FANOUT, Address
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import HEADER_SIZE, TRAILER_SIZE, pack_key
from csbs.repository.pack_reader import load_footer
from csbs.testing.faults import Faults, FaultyStore, RecordingStore
from csbs.testing.repositories import START, Lab, noise

#: Three leaves below one inner node.
SIZE_BYTES = 3 * FANOUT * BLOCK_SIZE
BLOCKS = {0: noise(1), 1: noise(2), FANOUT: noise(3), 2 * FANOUT + 7: noise(4)}


def verified(repository: Repository, share: Share | None = None) -> VerifyReport:
    return repository.verify(share, found_at=START, watch=WATCH)


WATCH = VerifyWatch(progress=lambda _: None, cancelled=lambda: False)


def flip(store: MemoryStore, key: str, at: int) -> None:
    data = bytearray(store.get(key))
    data[at] ^= 0x10
    store.replace(key, bytes(data))


def cut(store: MemoryStore, key: str, size: int) -> None:
    store.replace(key, store.get(key)[:size])


def address_of(lab: Lab, image: Image, block: int) -> Address:
    fetch = next(lab.opened().reader(image).fetches([(block, block + 1)]))
    return Address(fetch.pack_id, fetch.blocks[0][1])


def frame_range(store: MemoryStore, address: Address) -> range:
    footer = load_footer(store, address.pack_id)
    position = footer.position(address.slot)
    assert position is not None
    start = int(footer.offsets[position])
    return range(start, start + int(footer.sizes[position]))


def ranges_of(report: VerifyReport) -> dict[str, tuple[tuple[int, int], ...]]:
    """What is lost of each backup (each has one disk here), in blocks."""
    return {
        each.manifest.backup_id: tuple(
            (offset // BLOCK_SIZE, size // BLOCK_SIZE) for offset, size in each.ranges
        )
        for each in report.images
    }


# --- each class of object -----------------------------------------------------------------------


@dataclass(frozen=True)
class Full:
    """A repository that has one object of every class at least."""

    lab: Lab
    store: MemoryStore
    live: Manifest

    @property
    def blocks_key(self) -> str:
        return pack_key(address_of(self.lab, self.live.images[0], 0).pack_id)

    @property
    def nodes_key(self) -> str:
        root = self.live.images[0].root
        assert root is not None
        return pack_key(root.pack_id)

    def key(self, ending: str) -> str:
        """The only key that ends so."""
        [found] = [each.key for each in self.store.list("") if each.key.endswith(ending)]
        return found


@pytest.fixture
def full(lab: Lab, store: MemoryStore) -> Full:
    purged = lab.back_up(noise(50))
    lab.repository.delete(purged.key, purged.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)
    live = lab.back_up_blocks(SIZE_BYTES, BLOCKS)
    return Full(lab, store, live)


def _void(full: Full) -> str:
    return full.key(".tombstone-0001").removesuffix(".tombstone-0001")


def _everywhere(data: bytes) -> Iterator[int]:
    yield from range(0, len(data), 7)


def _header(_data: bytes) -> Iterator[int]:
    yield from range(HEADER_SIZE)


def _footer_offset(data: bytes) -> int:
    return int.from_bytes(data[-TRAILER_SIZE + 32 : -TRAILER_SIZE + 40], "little")


def _frames(data: bytes) -> Iterator[int]:
    end = _footer_offset(data)
    yield from sorted({*range(HEADER_SIZE, end, (end - HEADER_SIZE) // 20), end - 1})


def _footer(data: bytes) -> Iterator[int]:
    yield from range(_footer_offset(data), len(data) - TRAILER_SIZE, 3)


def _trailer(data: bytes) -> Iterator[int]:
    """Without the generation and the pack's check, which only whole packs are held against."""
    start = len(data) - TRAILER_SIZE
    yield from (*range(start, start + 24), *range(start + 28, start + 80))


def _rest_of_trailer(data: bytes) -> Iterator[int]:
    start = len(data) - TRAILER_SIZE
    yield from (*range(start + 24, start + 28), *range(start + 80, len(data)))


STRUCTURE = None
CLASSES = [
    pytest.param(lambda _: "config", _everywhere, STRUCTURE, id="config"),
    pytest.param(lambda _: "owners/00000001", _everywhere, STRUCTURE, id="owner"),
    pytest.param(lambda full: full.live.key, _everywhere, STRUCTURE, id="manifest"),
    pytest.param(_void, _everywhere, STRUCTURE, id="void"),
    pytest.param(lambda f: f.key(".tombstone-0001"), _everywhere, STRUCTURE, id="tombstone"),
    pytest.param(lambda f: f.key(".end"), _everywhere, STRUCTURE, id="end of a tombstone"),
    pytest.param(lambda f: f.nodes_key, _frames, STRUCTURE, id="frames of a pack of nodes"),
    pytest.param(lambda f: f.nodes_key, _footer, STRUCTURE, id="footer of a pack of nodes"),
    pytest.param(lambda f: f.nodes_key, _trailer, STRUCTURE, id="trailer of a pack of nodes"),
    pytest.param(lambda f: f.nodes_key, _header, EVERYTHING, id="header of a pack of nodes"),
    pytest.param(lambda f: f.nodes_key, _rest_of_trailer, EVERYTHING, id="check of nodes"),
    pytest.param(lambda f: f.blocks_key, _footer, STRUCTURE, id="footer of a pack of blocks"),
    pytest.param(lambda f: f.blocks_key, _trailer, STRUCTURE, id="trailer of a pack of blocks"),
    pytest.param(lambda f: f.blocks_key, _header, EVERYTHING, id="header of a pack of blocks"),
    pytest.param(lambda f: f.blocks_key, _frames, EVERYTHING, id="frames of a pack of blocks"),
    pytest.param(lambda f: f.blocks_key, _rest_of_trailer, EVERYTHING, id="check of blocks"),
]


@pytest.mark.parametrize(("key_of", "places", "share"), CLASSES)
def test_a_flipped_bit_is_found_by_the_mode_that_promises_it(
    full: Full,
    key_of: Callable[[Full], str],
    places: Callable[[bytes], Iterator[int]],
    share: Share | None,
) -> None:
    key = key_of(full)
    whole = full.store.get(key)
    assert not verified(full.lab.repository, EVERYTHING).damaged
    for at in places(whole):
        flip(full.store, key, at)
        report = verified(full.lab.repository, share)
        assert key in {each.key for each in report.objects}, at
        if share is STRUCTURE and key not in report.mended:
            assert key in {each.key for each in verified(full.lab.repository, EVERYTHING).objects}
        full.store.replace(key, whole)
    assert not verified(full.lab.repository, EVERYTHING).damaged


@pytest.mark.parametrize(
    ("key_of", "places", "share"),
    [each for each in CLASSES if not str(each.id).startswith("header")],
)
def test_a_cut_object_is_found_by_its_structure(
    full: Full, key_of: Callable[[Full], str], places: object, share: object
) -> None:
    del places, share
    key = key_of(full)
    size = full.store.size(key)
    for left in (0, 1, size // 2, size - 1):
        whole = full.store.get(key)
        cut(full.store, key, left)
        assert key in {each.key for each in verified(full.lab.repository).objects}, left
        full.store.replace(key, whole)


@pytest.mark.parametrize("place", [_header, _frames, _footer, _trailer, _rest_of_trailer])
@pytest.mark.parametrize("kind", ["nodes", "blocks"])
def test_whole_packs_are_checked_with_the_store_alone(
    full: Full, place: Callable[[bytes], Iterator[int]], kind: str
) -> None:
    key = full.nodes_key if kind == "nodes" else full.blocks_key
    whole = full.store.get(key)
    for name in ("config", "owners/00000001", full.live.key):
        full.store.delete(name)
    for at in place(whole):
        flip(full.store, key, at)
        report = verify_packs(full.store, EVERYTHING, WATCH)
        assert [each.key for each in report.objects] == [key], at
        full.store.replace(key, whole)
    report = verify_packs(full.store, EVERYTHING, WATCH)

    assert not report.damaged
    assert report.read_bytes == sum(each.size_bytes for each in full.store.list("packs/"))


def test_a_flipped_bit_of_a_key_ring_is_found(store: MemoryStore, tmp_path: Path) -> None:
    lab = Lab(store, tmp_path, encrypted=True)
    [key] = [each.key for each in store.list("keys/")]
    whole = store.get(key)
    for at in _everywhere(whole):
        flip(store, key, at)
        assert [each.key for each in verified(lab.repository).objects] == [key], at
        store.replace(key, whole)
    cut(store, key, len(whole) - 1)
    assert [each.key for each in verified(lab.repository).objects] == [key]
    lab.close()


def test_a_record_of_damage_that_is_damaged_is_told_and_replaced(
    full: Full, store: MemoryStore
) -> None:
    address = address_of(full.lab, full.live.images[0], 0)
    flip(store, pack_key(address.pack_id), frame_range(store, address)[5])
    verified(full.lab.opened(), EVERYTHING)
    flip(store, damage_key(1), 100)
    assert not known_damage(store)
    report = verified(full.lab.opened(), EVERYTHING)

    assert damage_key(1) in {each.key for each in report.objects}
    assert [each.key for each in store.list("damage/")] == [damage_key(2)]
    assert known_damage(store).has(address.pack_id, address.slot)


# --- what is lost, by name ------------------------------------------------------------------------


def test_a_damaged_frame_is_named_by_backup_and_range(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up_blocks(SIZE_BYTES, BLOCKS)
    second = lab.back_up_blocks(SIZE_BYTES, {FANOUT: noise(9)}, first.images[0])
    address = address_of(lab, first.images[0], FANOUT)
    flip(store, pack_key(address.pack_id), frame_range(store, address)[0])

    assert not verified(lab.opened()).damaged  # its structure is whole
    report = verified(lab.opened(), EVERYTHING)
    assert ranges_of(report) == {first.backup_id: ((FANOUT, 1),)}
    assert report.images[0].lost_bytes == BLOCK_SIZE
    assert second.backup_id not in ranges_of(report)
    assert report.read_bytes == sum(each.size_bytes for each in store.list("packs/"))


def test_neighbouring_blocks_are_one_range_that_ends_with_the_disk(
    lab: Lab, store: MemoryStore
) -> None:
    size_bytes = 3 * BLOCK_SIZE - 100
    manifest = lab.back_up(noise(1, size_bytes))
    for block in (1, 2):
        address = address_of(lab, manifest.images[0], block)
        flip(store, pack_key(address.pack_id), frame_range(store, address)[0])
    [image] = verified(lab.opened(), EVERYTHING).images

    assert image.ranges == ((BLOCK_SIZE, size_bytes - BLOCK_SIZE),)


def test_all_below_a_damaged_node_is_lost(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up_blocks(SIZE_BYTES, BLOCKS)
    second = lab.back_up_blocks(SIZE_BYTES, {0: noise(9)}, first.images[0])
    root = first.images[0].root
    assert root is not None
    # Children come first, in the order of positions: slot 1 is the leaf from block 512 on.
    key = pack_key(root.pack_id)
    flip(store, key, frame_range(store, Address(root.pack_id, 1))[3])
    report = verified(lab.opened())

    assert ranges_of(report) == {
        first.backup_id: ((FANOUT, FANOUT),),
        second.backup_id: ((FANOUT, FANOUT),),
    }


@pytest.mark.parametrize("share", [None, EVERYTHING], ids=["structure", "all"])
def test_a_pack_that_is_gone_is_told_with_all_its_blocks(
    lab: Lab, store: MemoryStore, share: Share | None
) -> None:
    manifest = lab.back_up_blocks(SIZE_BYTES, BLOCKS)
    key = pack_key(address_of(lab, manifest.images[0], 0).pack_id)
    store.delete(key)
    report = verified(lab.opened(), share)

    assert [each.key for each in report.objects] == [key]
    assert ranges_of(report) == {
        manifest.backup_id: ((0, 2), (FANOUT, 1), (2 * FANOUT + 7, 1)),
    }


def test_a_map_that_names_slots_which_no_pack_has(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(noise(1, 2 * BLOCK_SIZE))
    address = address_of(lab, manifest.images[0], 1)
    other = lab.back_up(noise(7))
    donor = pack_key(address_of(lab, other.images[0], 0).pack_id)
    # The pack of one block, with the id of the pack of two.
    data = store.get(donor).replace(bytes.fromhex(donor[-32:]), address.pack_id)
    store.replace(pack_key(address.pack_id), data)

    assert ranges_of(verified(lab.opened())) == {manifest.backup_id: ((1, 1),)}


def test_damage_that_hurts_no_backup_is_told_all_the_same(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(noise(1))
    key = pack_key(address_of(lab, manifest.images[0], 0).pack_id)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    flip(store, key, HEADER_SIZE)
    report = verified(lab.opened(), EVERYTHING)

    assert {each.key for each in report.objects} == {key}
    assert report.images == ()


def test_shared_nodes_are_read_once_also_where_nothing_else_is_damaged(
    lab: Lab, store: MemoryStore
) -> None:
    image = lab.back_up_blocks(SIZE_BYTES, BLOCKS).images[0]
    for number in range(4):
        lab.back_up_blocks(SIZE_BYTES, {0: noise(20 + number)}, image)
    recorded = RecordingStore(store)
    report = verified(lab.opened(recorded))
    assert image.root is not None

    assert (report.backups, report.nodes) == (5, 4 + 4 * 2)
    # Its footer twice (for nodes, and anew), the root for its digest, all nodes by two reads.
    assert recorded.calls.count(("get", pack_key(image.root.pack_id))) <= 6


def test_bytes_that_the_medium_has_lost_cost_what_lies_there_and_no_more(
    lab: Lab, store: MemoryStore
) -> None:
    manifest = lab.back_up(noise(1, 3 * BLOCK_SIZE))
    address = address_of(lab, manifest.images[0], 1)
    bad = BadSector(store, pack_key(address.pack_id), frame_range(store, address)[100])
    report = verified(lab.opened(bad), EVERYTHING)

    assert ranges_of(report) == {manifest.backup_id: ((1, 1),)}


class BadSector(RecordingStore):
    """One byte of one object cannot be read."""

    def __init__(self, inner: MemoryStore, key: str, at: int) -> None:
        super().__init__(inner)
        self._bad = key, at

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        data = super().get(key, offset=offset, size=size)
        if key == self._bad[0] and offset <= self._bad[1] < offset + len(data):
            # The tail that a footer is looked for in reaches over small packs.
            if size is None:
                return data
            raise CorruptObject(key, "bytes that can be read", "an I/O error")
        return data


# --- shares ---------------------------------------------------------------------------------------


def test_all_shares_together_read_every_byte_once(lab: Lab, store: MemoryStore) -> None:
    for number in range(12):
        lab.back_up(noise(number, 3 * BLOCK_SIZE))
    reports = [verified(lab.opened(), Share(number, 5)) for number in range(1, 6)]
    sizes = [each.size_bytes for each in store.list("packs/")]

    assert sum(each.packs_read for each in reports) == len(sizes)
    assert sum(each.read_bytes for each in reports) == sum(sizes)


def test_a_damaged_byte_is_found_by_exactly_one_share(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(noise(1, 9 * BLOCK_SIZE))
    address = address_of(lab, manifest.images[0], 4)
    flip(store, pack_key(address.pack_id), frame_range(store, address)[0])
    found = [
        number for number in range(1, 8) if verify_packs(store, Share(number, 7), WATCH).damaged
    ]

    assert len(found) == 1
    assert Share(found[0], 7).has(address.pack_id)


# --- what is kept ---------------------------------------------------------------------------------


@pytest.fixture
def damaged(lab: Lab, store: MemoryStore) -> tuple[Manifest, Address]:
    """A backup of eight blocks, the sixth of them damaged, and where it is."""
    manifest = lab.back_up(noise(1, 8 * BLOCK_SIZE))
    address = address_of(lab, manifest.images[0], 5)
    flip(store, pack_key(address.pack_id), frame_range(store, address)[9])
    return manifest, address


def test_what_was_found_is_believed_until_the_pack_was_read_whole(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    manifest, address = damaged
    verified(lab.opened(), EVERYTHING)
    flip(store, pack_key(address.pack_id), frame_range(store, address)[9])  # mended
    structure = verified(lab.opened())
    others = [each for each in (Share(1, 2), Share(2, 2)) if not each.has(address.pack_id)]

    assert ranges_of(structure) == {manifest.backup_id: ((5, 1),)}
    assert "was found damaged before" in structure.objects[0].why
    assert verified(lab.opened(), others[0]).damaged
    assert not verified(lab.opened(), EVERYTHING).damaged
    assert not known_damage(store)
    assert not verified(lab.opened()).damaged


def test_whole_repositories_keep_no_record(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(noise(1))
    verified(lab.opened(), EVERYTHING)

    assert list(store.list("damage/")) == []


def test_the_same_damage_found_again_is_not_written_again(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    del damaged
    for _ in range(3):
        assert verified(lab.opened(), EVERYTHING).kept

    assert [each.key for each in store.list("damage/")] == [damage_key(1)]


def test_what_another_found_meanwhile_is_not_overruled(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    _, address = damaged
    repository, other = lab.opened(), lab.opened()
    more = Damage({address.pack_id: frozenset({0})})

    def meanwhile(progress: Progress) -> None:
        if progress.doing == "reading packs":
            other.doubt(more, found_at=START)

    watch = VerifyWatch(progress=meanwhile, cancelled=lambda: False)
    repository.verify(EVERYTHING, found_at=START, watch=watch)

    assert known_damage(store).packs == {address.pack_id: frozenset({0, address.slot})}


def test_two_who_keep_in_the_same_moment_both_do(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    _, address = damaged
    faults = Faults().on("put", ObjectExists(damage_key(1)), key_prefix="damage/")
    report = verified(lab.opened(FaultyStore(store, faults)), EVERYTHING)

    faults.assert_all_fired()
    assert report.kept
    assert known_damage(store).has(address.pack_id, address.slot)


def test_a_store_that_may_only_be_read_is_verified(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    manifest, _ = damaged
    faults = Faults().on("put", StoreDenied("store", "read-only"), key_prefix="damage/")
    report = verified(lab.opened(FaultyStore(store, faults)), EVERYTHING)

    faults.assert_all_fired()
    assert not report.kept
    assert list(ranges_of(report)) == [manifest.backup_id]


def test_who_does_not_own_the_repository_verifies_and_keeps_nothing(
    lab: Lab, store: MemoryStore, damaged: tuple[Manifest, Address]
) -> None:
    del damaged
    other = Repository.open(
        store,
        name="x",
        catalog_id=lab.new_id(),
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=lab.encryption,
    )
    report = verified(other, EVERYTHING)

    assert (report.damaged, report.kept) == (True, False)
    assert list(store.list("damage/")) == []


# --- what it does for later backups -------------------------------------------------------------


def test_a_block_that_is_known_to_be_damaged_is_stored_anew(
    lab: Lab, damaged: tuple[Manifest, Address]
) -> None:
    manifest, address = damaged
    data = noise(1, 8 * BLOCK_SIZE)
    trusting = lab.back_up(data, manifest.images[0])
    assert address_of(lab, trusting.images[0], 5) == address

    verified(lab.repository, EVERYTHING)
    healed = lab.back_up(data, trusting.images[0])  # all blocks are read and compared
    assert healed.images[0].changed_blocks == 1
    assert lab.restored(healed) == data
    new_disk = lab.back_up(data, image_id="another")  # de-duplication finds the new place
    assert new_disk.stored_bytes < BLOCK_SIZE
    assert lab.restored(new_disk, "another") == data


def test_a_lost_index_that_is_rebuilt_does_not_bring_damaged_blocks_back(
    lab: Lab, damaged: tuple[Manifest, Address]
) -> None:
    _, address = damaged
    verified(lab.repository, EVERYTHING)
    lab.repository = lab.opened()
    lab.repository.rebuild_index(lab.index)
    fresh = lab.back_up(noise(1, 8 * BLOCK_SIZE), image_id="another")

    assert address_of(lab, fresh.images[0], 5) != address
    assert lab.restored(fresh, "another") == noise(1, 8 * BLOCK_SIZE)


def test_an_increment_learns_which_blocks_it_must_read_again(
    lab: Lab, damaged: tuple[Manifest, Address]
) -> None:
    manifest, _ = damaged
    before = list(lab.repository.damaged_runs(manifest.images[0]))
    verified(lab.repository, EVERYTHING)
    anew = lab.opened()

    assert before == []
    assert list(anew.damaged_runs(manifest.images[0])) == [(5, 6)]


# --- watching -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [None, EVERYTHING], ids=["structure", "all"])
def test_it_tells_how_far_it_is(lab: Lab, share: Share | None, store: MemoryStore) -> None:
    lab.back_up(noise(1, 20 * BLOCK_SIZE))
    seen: list[Progress] = []
    watch = VerifyWatch(progress=seen.append, cancelled=lambda: False)
    lab.opened().verify(share, found_at=START, watch=watch)
    size_bytes = sum(each.size_bytes for each in store.list("packs/"))

    assert seen[0].doing == "reading maps (0 of 1 backups)"
    if share is None:
        assert seen[-1].doing == "checking packs (6 of 6)"
    else:
        assert seen[-1] == Progress("reading packs", size_bytes, size_bytes)
        assert [each.done_bytes for each in seen] == sorted(each.done_bytes for each in seen)


@pytest.mark.parametrize("after", range(0, 40, 4))
def test_it_stops_when_asked(lab: Lab, after: int) -> None:
    for number in range(4):
        lab.back_up(noise(number, 20 * BLOCK_SIZE))
    asked = iter(range(after))
    watch = VerifyWatch(progress=lambda _: None, cancelled=lambda: next(asked, None) is None)

    with pytest.raises(OperationCancelled):
        lab.opened().verify(EVERYTHING, found_at=START, watch=watch)
