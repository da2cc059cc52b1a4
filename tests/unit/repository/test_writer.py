"""Writing and committing backups."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csbs.domain.errors import CsbsError
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import STORED, ZERO, Repository, Run
from csbs.repository.errors import (
    BackupFenced,
    BackupMissing,
    CorruptObject,
    MissingPack,
    ObjectExists,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import pack_key
from csbs.testing.faults import Faults, FaultyStore
from csbs.testing.repositories import START, Lab, noise, restored, write_image

DATA = noise(1, 6 * BLOCK_SIZE)


def packs_of(store: MemoryStore) -> list[str]:
    return [each.key for each in store.list("packs/")]


def pack_of_block(lab: Lab) -> str:
    """Key of the pack that has the first block of the first backup."""
    image = next(lab.repository.manifests()).images[0]
    return pack_key(next(lab.repository.reader(image).fetches()).pack_id)


def test_a_backup_comes_back(lab: Lab) -> None:
    manifest = lab.back_up(DATA)

    assert lab.restored(manifest) == DATA
    assert lab.repository.manifest(manifest.key) == manifest
    assert list(lab.opened().manifests()) == [manifest]
    assert manifest.key == f"manifests/2026-01/00000001-{manifest.backup_id}"
    assert (manifest.images[0].nonzero_blocks, manifest.images[0].changed_blocks) == (6, 6)


def test_stored_bytes_are_the_sizes_of_the_packs_it_added(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)

    assert manifest.stored_bytes == sum(each.size_bytes for each in store.list("packs/"))


def test_an_increment_without_a_change_stores_nothing_and_shares_the_root(
    lab: Lab, store: MemoryStore
) -> None:
    first = lab.back_up(DATA)
    packs = packs_of(store)
    second = lab.back_up(DATA, first.images[0])

    assert packs_of(store) == packs
    assert second.stored_bytes == 0
    assert second.images[0].root == first.images[0].root
    assert second.images[0].root_digest == first.images[0].root_digest
    assert second.images[0].changed_blocks == 0


def test_what_is_not_mentioned_is_the_parents(lab: Lab) -> None:
    first = lab.back_up(DATA)
    second = lab.back_up_blocks(len(DATA), {3: noise(9)}, first.images[0])

    expected = DATA[: 3 * BLOCK_SIZE] + noise(9) + DATA[4 * BLOCK_SIZE :]
    assert lab.restored(second) == expected
    assert (second.images[0].nonzero_blocks, second.images[0].changed_blocks) == (6, 1)


def test_twins_are_stored_once_within_a_backup_and_between_backups(lab: Lab) -> None:
    first = lab.back_up(noise(1) * 5)
    other = lab.back_up(noise(1) * 3, image_id="other")

    assert first.stored_bytes < 2 * BLOCK_SIZE
    assert other.stored_bytes < BLOCK_SIZE
    assert lab.restored(other, "other") == noise(1) * 3


def test_bytes_that_do_not_compress_are_stored_as_they_are(lab: Lab) -> None:
    manifest = lab.back_up(noise(1))

    assert BLOCK_SIZE < manifest.stored_bytes < BLOCK_SIZE + 1500


def test_a_partial_last_block_is_padded_with_zeroes(lab: Lab) -> None:
    first = lab.back_up(b"x" * 1000)
    second = lab.back_up(b"x" * 1000 + bytes(BLOCK_SIZE - 1000), first.images[0])

    assert lab.restored(first) == b"x" * 1000
    assert second.images[0].changed_blocks == 0


def test_several_images_are_written_by_several_threads(lab: Lab) -> None:
    writer = lab.begin()
    disks = {f"disk{n}": noise(n, 20 * BLOCK_SIZE) for n in range(4)}

    def write(item: tuple[str, bytes]) -> None:
        image_id, data = item
        blocks = {i: data[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE] for i in range(20)}
        write_image(writer, len(data), blocks, image_id=image_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, disks.items()))
    manifest = writer.commit(created_at=START, facts={})

    assert {image.id: restored(lab.repository, image) for image in manifest.images} == disks


def test_one_encoder_serves_many_threads(lab: Lab) -> None:
    first = lab.back_up(DATA)
    image = lab.begin().image("disk", 64 * BLOCK_SIZE, parent=first.images[0])
    encoder = image.encoder()
    chunks = [DATA[:BLOCK_SIZE] + bytes(BLOCK_SIZE) + noise(n) for n in range(8)] * 4
    expected = [encoder.encode(0, chunk) for chunk in chunks]
    begin = threading.Barrier(8, timeout=30)

    def encode(chunk: bytes) -> object:
        return encoder.encode(0, chunk)

    with ThreadPoolExecutor(8, initializer=begin.wait) as pool:
        assert list(pool.map(encode, chunks)) == expected


def test_a_commit_may_be_repeated(lab: Lab) -> None:
    writer = lab.begin()
    write_image(writer, BLOCK_SIZE, {0: noise(1)})

    first = writer.commit(created_at=START, facts={"a": 1})
    second = writer.commit(created_at=START, facts={"a": 1})

    assert first == second
    assert list(lab.repository.manifests()) == [first]


def test_a_commit_whose_answer_was_lost_is_repeated(lab: Lab, store: MemoryStore) -> None:
    lost = StoreUnavailable("manifests", "reset")
    faults = Faults().on("put", lost, key_prefix="manifests/", after_effect=True)
    writer = lab.begin(lab.opened(FaultyStore(store, faults)))
    write_image(writer, BLOCK_SIZE, {0: noise(1)})

    with pytest.raises(StoreUnavailable):
        writer.commit(created_at=START, facts={})
    manifest = writer.commit(created_at=START, facts={})

    assert list(lab.repository.manifests()) == [manifest]
    faults.assert_all_fired()


def test_a_commit_with_other_facts_is_another_object(lab: Lab) -> None:
    writer = lab.begin()
    writer.commit(created_at=START, facts={"a": 1})

    with pytest.raises(ObjectExists):
        writer.commit(created_at=START, facts={"a": 2})


@pytest.mark.parametrize("committing", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "failure",
    [StoreUnavailable("manifests", "no answer"), StoreDenied("store", "read-only")],
    ids=["away", "denied"],
)
def test_a_store_that_takes_nothing_is_needed_only_once_a_commit_began(
    lab: Lab, store: MemoryStore, failure: CsbsError, *, committing: bool
) -> None:
    faults = Faults().on("put", failure, key_prefix="manifests/", times=2 if committing else 1)
    writer = lab.begin(lab.opened(FaultyStore(store, faults)))
    if committing:
        with pytest.raises(type(failure)):
            writer.commit(created_at=START, facts={})
        with pytest.raises(type(failure)):
            writer.abort()
    else:
        assert writer.abort()

    faults.assert_all_fired()


def test_a_void_fences_a_late_commit(lab: Lab) -> None:
    writer = lab.begin()
    image = write_image(writer, BLOCK_SIZE, {0: noise(1)})
    backup_id = writer.manifest_key.rpartition("/")[2].partition("-")[2]

    assert lab.repository.fence(writer.manifest_key, backup_id)
    assert lab.repository.fence(writer.manifest_key, backup_id)
    with pytest.raises(BackupFenced):
        writer.commit(created_at=START, facts={})
    with pytest.raises(BackupMissing):
        lab.repository.manifest(writer.manifest_key)
    assert list(lab.repository.manifests()) == []
    assert image.nonzero_blocks == 1


def test_a_committed_backup_cannot_be_fenced(lab: Lab) -> None:
    manifest = lab.back_up(DATA)

    assert not lab.repository.fence(manifest.key, manifest.backup_id)
    assert lab.repository.manifest(manifest.key) == manifest


def test_an_abort_drops_what_is_open_and_fences(lab: Lab, store: MemoryStore) -> None:
    writer = lab.begin()
    image = writer.image("disk", BLOCK_SIZE, parent=None)
    image.write(0, image.encoder().encode(0, noise(1)))

    assert writer.abort()
    assert writer.abort()
    assert packs_of(store) == []
    assert list(lab.repository.manifests()) == []


def test_an_abort_after_the_commit_says_so(lab: Lab) -> None:
    writer = lab.begin()
    manifest = writer.commit(created_at=START, facts={})

    assert not writer.abort()
    assert list(lab.repository.manifests()) == [manifest]


@pytest.mark.parametrize(
    "error", [StoreFull("store", 0, 1), StoreUnavailable("k", "reset")], ids=["full", "away"]
)
def test_a_pack_that_could_not_be_put_fails_the_backup_for_good(
    lab: Lab, store: MemoryStore, error: Exception
) -> None:
    faults = Faults().on("put", error, key_prefix="packs/")
    writer = lab.begin(lab.opened(FaultyStore(store, faults)))

    blocks = {number: noise(number) for number in range(5)}

    def whole_backup(image_id: str) -> None:
        write_image(writer, 5 * BLOCK_SIZE, blocks, image_id=image_id)
        writer.commit(created_at=START, facts={})

    for image_id in ("disk", "other"):
        with pytest.raises(type(error)):
            whole_backup(image_id)
    with pytest.raises(type(error)):
        writer.commit(created_at=START, facts={})

    assert writer.abort()
    assert list(lab.repository.manifests()) == []
    faults.assert_all_fired()


def test_a_missing_pack_of_the_parent_refuses_the_commit(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up(DATA)
    store.delete(pack_of_block(lab))
    again = lab.opened()
    writer = lab.begin(again)
    write_image(writer, len(DATA), {5: noise(9)}, first.images[0])

    with pytest.raises(MissingPack):
        writer.commit(created_at=START, facts={})
    assert writer.abort()


def test_a_damaged_pack_of_the_parent_refuses_the_commit(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up(DATA)
    key = pack_of_block(lab)
    store.replace(key, store.get(key)[:-1])
    writer = lab.begin(lab.opened())
    write_image(writer, len(DATA), {5: noise(9)}, first.images[0])

    with pytest.raises(MissingPack):
        writer.commit(created_at=START, facts={})


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_reading_all_stores_anew_what_a_missing_pack_had(
    lab: Lab, store: MemoryStore, how: str
) -> None:
    first = lab.back_up(DATA)
    key = pack_of_block(lab)
    if how == "missing":
        store.delete(key)
    else:
        store.replace(key, store.get(key)[:-1])
    lab.repository = lab.opened()
    second = lab.back_up(DATA, first.images[0])

    assert lab.restored(second) == DATA
    assert second.images[0].changed_blocks > 0


def test_a_pack_that_changed_after_it_was_put_refuses_the_commit(
    lab: Lab, store: MemoryStore
) -> None:
    writer = lab.begin()
    write_image(writer, 6 * BLOCK_SIZE, {n: noise(n) for n in range(6)})
    writer._writer.flush()
    key = packs_of(store)[0]
    store.replace(key, store.get(key)[:-1] + b"x")

    with pytest.raises(CorruptObject):
        writer.commit(created_at=START, facts={})
    store.delete(key)
    with pytest.raises(MissingPack):
        writer.commit(created_at=START, facts={})


def test_a_backup_of_no_disk_or_of_an_empty_one_is_a_backup(lab: Lab) -> None:
    writer = lab.begin()
    empty = write_image(writer, 0, {})
    manifest = writer.commit(created_at=START, facts={})

    assert lab.repository.manifest(manifest.key) == manifest
    assert (empty.root, empty.root_digest, empty.level) == (None, b"", 0)
    assert lab.restored(manifest) == b""
    assert lab.begin().commit(created_at=START, facts={}).images == ()


def test_a_block_that_reads_zero_is_zero_and_not_stored(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(bytes(BLOCK_SIZE) + noise(1) + bytes(10))
    runs = list(lab.repository.reader(manifest.images[0]).runs())

    assert runs == [Run(0, 1, ZERO), Run(1, 2, STORED), Run(2, 3, ZERO)]
    assert manifest.images[0].nonzero_blocks == 1
    assert len(packs_of(store)) == 2


def test_the_library_is_used_with_little_ceremony(lab: Lab) -> None:
    repository: Repository = lab.repository
    writer = repository.begin(lab.new_id(), started_at=START, index=lab.index)
    image = writer.image("vda", len(DATA), parent=None)
    image.write(0, image.encoder().encode(0, DATA))
    image.finish()
    manifest = writer.commit(created_at=START, facts={})

    assert repository.reader(manifest.images[0]).read(0, len(DATA)) == DATA


def test_an_image_that_is_begun_again_counts_from_its_parent(lab: Lab) -> None:
    first = lab.back_up(DATA)
    [parent] = first.images
    writer = lab.begin()
    image = writer.image(parent.id, len(DATA), parent=parent)
    image.write(0, image.encoder().encode(0, noise(7, 2 * BLOCK_SIZE)))
    again = writer.image_again(image.finish(), parent=parent)
    again.write(1, again.encoder().encode(1, noise(8, 2 * BLOCK_SIZE)))
    again.finish()
    manifest = writer.commit(created_at=START, facts={})
    [made] = manifest.images

    expected = noise(7) + noise(8, 2 * BLOCK_SIZE) + DATA[3 * BLOCK_SIZE :]
    assert lab.restored(manifest) == expected
    assert (made.nonzero_blocks, made.changed_blocks) == (6, 3)


def test_packs_that_are_full_are_put_before_the_end(lab: Lab, store: MemoryStore) -> None:
    writer = lab.begin()
    image = writer.image("disk", 40 * BLOCK_SIZE, parent=None)
    encoder = image.encoder()
    for number in range(40):
        image.write(number, encoder.encode(number, noise(number)))

    assert len(packs_of(store)) >= 40 // 4 - 4  # some may be on their way
    assert writer.stored_bytes > 0
    image.finish()
    assert writer.commit(created_at=START, facts={}).stored_bytes > 40 * BLOCK_SIZE


def test_a_named_slot_that_its_pack_does_not_have_refuses_the_commit(lab: Lab) -> None:
    first = lab.back_up(DATA)
    pack_id = bytes.fromhex(pack_of_block(lab)[-32:])
    writer = lab.begin()
    writer._older.add(pack_id, 100)

    with pytest.raises(MissingPack, match=pack_id.hex()):
        writer.commit(created_at=START, facts={})
    assert first.images[0].nonzero_blocks == 6


def test_many_nodes_make_several_packs_and_blocks_come_first(lab: Lab) -> None:
    writer = lab.repository.begin(lab.new_id(), started_at=START, index=lab.index, pack_size=3000)
    blocks = {512 * n: b"%d" % n * 100 for n in range(40)}
    image = write_image(writer, 512 * 40 * BLOCK_SIZE, blocks)
    writer.commit(created_at=START, facts={})
    reader = lab.repository.reader(image)

    for number, data in blocks.items():
        assert reader.read(number * BLOCK_SIZE, len(data)) == data
