"""Collection frees what nothing names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import CollectProgress, ContentIndex, Repository
from csbs.repository.errors import BackupFenced, MissingPack, RepositoryOwned
from csbs.repository.marks import Marks
from csbs.repository.node import FANOUT
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import pack_key
from csbs.testing.faults import RecordingStore
from csbs.testing.repositories import START, Lab, noise, write_image

DATA = noise(1, 10 * BLOCK_SIZE)


def stored_bytes(store: MemoryStore) -> int:
    return sum(each.size_bytes for each in store.list("packs/"))


def test_a_deleted_backup_frees_its_packs_and_the_others_stay(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up(DATA)
    second = lab.back_up(noise(2, 10 * BLOCK_SIZE), first.images[0])
    before = stored_bytes(store)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    report = lab.repository.collect(lab.index)

    assert report.backups_purged == 1
    assert report.packs_deleted == 4
    assert report.freed_bytes == first.stored_bytes == before - stored_bytes(store)
    assert (report.kept_bytes, report.dead_bytes) == (second.stored_bytes, 0)
    assert report.kept_packs == 4
    assert lab.restored(second) == noise(2, 10 * BLOCK_SIZE)


def test_a_pack_of_which_something_is_live_stays_and_its_dead_bytes_are_told(lab: Lab) -> None:
    first = lab.back_up(DATA[: 2 * BLOCK_SIZE])
    second = lab.back_up(noise(2) + DATA[BLOCK_SIZE : 2 * BLOCK_SIZE], first.images[0])
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    report = lab.repository.collect(lab.index)

    assert report.packs_deleted == 1  # its map
    assert report.dead_bytes == lab.raw_frame_size
    assert lab.restored(second) == noise(2) + DATA[BLOCK_SIZE : 2 * BLOCK_SIZE]


def test_collecting_twice_frees_nothing_more(lab: Lab) -> None:
    lab.back_up(DATA)
    first = lab.repository.collect(lab.index)
    second = lab.repository.collect(lab.index)

    assert (first.packs_deleted, second.packs_deleted) == (0, 0)
    assert first == second


def test_what_a_failed_backup_left_is_freed(lab: Lab, store: MemoryStore) -> None:
    writer = lab.begin()
    write_image(writer, len(DATA), {n: noise(n) for n in range(10)})
    writer._writer.flush()
    writer.abort()
    assert stored_bytes(store) > 0

    lab.repository.collect(lab.index)
    assert stored_bytes(store) == 0


def test_a_purged_backup_can_never_be_committed_again(lab: Lab) -> None:
    writer = lab.begin()
    manifest = writer.commit(created_at=START, facts={})
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)

    with pytest.raises(BackupFenced):
        writer.commit(created_at=START, facts={})
    assert list(lab.repository.manifests()) == []


def test_a_lost_manifest_of_a_deleted_backup_is_fenced_too(lab: Lab, store: MemoryStore) -> None:
    writer = lab.begin()
    manifest = writer.commit(created_at=START, facts={})
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    store.delete(manifest.key)
    lab.repository.collect(lab.index)

    with pytest.raises(BackupFenced):
        writer.commit(created_at=START, facts={})


@pytest.mark.parametrize("lost", ["map", "pack of the map"])
def test_nothing_is_deleted_while_a_live_map_cannot_be_read(
    lab: Lab, store: MemoryStore, lost: str
) -> None:
    first = lab.back_up(DATA)
    second = lab.back_up(noise(2, 10 * BLOCK_SIZE))
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    root = second.images[0].root
    assert root is not None
    store.delete(pack_key(root.pack_id))
    before = stored_bytes(store)
    lab.repository = lab.opened()

    with pytest.raises(MissingPack, match=root.pack_id.hex()):
        lab.repository.collect(lab.index)
    assert stored_bytes(store) == before, lost


def test_the_end_of_the_tombstone_comes_first_then_the_void_then_packs(
    lab: Lab, store: MemoryStore
) -> None:
    manifest = lab.back_up(DATA)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    recorded = RecordingStore(store)
    lab.opened(recorded).collect(lab.index)
    changes = [each for each in recorded.calls if each[0] in {"put", "replace", "delete"}]

    assert changes[0] == ("put", f"{manifest.key}.tombstone-0001.end")
    assert changes[1] == ("replace", manifest.key)
    assert {method for method, _ in changes[2:]} == {"delete"}
    assert len(changes) == 2 + 4


def test_the_index_forgets_packs_before_they_are_deleted(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    digests = [lab.repository._packs.digest(noise(1, 10 * BLOCK_SIZE)[:BLOCK_SIZE])]
    seen: list[object] = []

    def look(progress: CollectProgress) -> None:
        if progress.phase == "delete":
            seen.append((progress.done, progress.total, lab.index.find(digests)))

    assert lab.index.find(digests) != [None]
    lab.repository.collect(lab.index, progress=look)
    assert seen == [(n, 4, [None]) for n in range(4)]
    assert stored_bytes(store) == 0


def test_only_the_owner_collects(lab: Lab, store: MemoryStore, tmp_path: Path) -> None:
    lab.back_up(DATA)
    other = Repository.open(
        store,
        name="the lab's",
        catalog_id=lab.new_id(),
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=lab.encryption,
    )
    index = ContentIndex(tmp_path / "other.sqlite")

    with pytest.raises(RepositoryOwned):
        other.collect(index)
    index.close()


def test_a_damaged_pack_of_blocks_stays_and_counts_no_dead_bytes(
    lab: Lab, store: MemoryStore
) -> None:
    first = lab.back_up(DATA[: 2 * BLOCK_SIZE])
    key = pack_key(next(lab.repository.reader(first.images[0]).fetches()).pack_id)
    store.replace(key, store.get(key)[:-1])
    lab.repository = lab.opened()
    report = lab.repository.collect(lab.index)

    assert (report.packs_deleted, report.dead_bytes) == (0, 0)
    assert store.size(key) > 0


def test_an_image_that_is_all_hole_names_nothing(lab: Lab) -> None:
    lab.back_up_blocks(BLOCK_SIZE, {})

    assert lab.repository.collect(lab.index).kept_packs == 0


def test_more_packs_than_marks_were_made_for(lab: Lab) -> None:
    marks = Marks(lab.repository._packs)
    for number in range(3000):
        assert not marks.has(number.to_bytes(16, "little"))
    image = lab.back_up(DATA).images[0]
    marks.add(image)

    assert image.root is not None
    assert marks.has(image.root.pack_id)


def test_nodes_that_one_backup_wrote_come_by_one_read(lab: Lab, store: MemoryStore) -> None:
    size_bytes = 6 * FANOUT * BLOCK_SIZE
    image = lab.back_up_blocks(size_bytes, {n * FANOUT: noise(n) for n in range(6)}).images[0]
    second = lab.back_up_blocks(
        size_bytes, {n * FANOUT: noise(10 + n) for n in (1, 3, 4)}, image
    ).images[0]
    last = list(lab.repository.manifests())[-1].images[0]
    recorded = RecordingStore(store)
    lab.opened(recorded).collect(lab.index)

    for each in (image, second):
        assert each.root is not None
        reads = recorded.calls.count(("get", pack_key(each.root.pack_id)))
        shared = each == image == last  # the leaves that the second shares were read before
        assert reads == 3 + shared  # its footer, its root, all its leaves


def test_two_backups_that_share_a_map_walk_it_once(lab: Lab, store: MemoryStore) -> None:
    first = lab.back_up(DATA)
    for _ in range(3):
        lab.back_up(DATA, first.images[0])
    recorded = RecordingStore(store)
    repository = lab.opened(recorded)
    repository.collect(lab.index)
    assert first.images[0].root is not None
    key = pack_key(first.images[0].root.pack_id)

    assert recorded.calls.count(("get", key)) == 2  # its footer and its one node
