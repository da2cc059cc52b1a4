"""Deleting backups: one create-only object, and never a wrong answer afterwards."""

from __future__ import annotations

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import text_object
from csbs.repository.errors import BackupMissing, CorruptObject
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import START, Lab, noise

DATA = noise(1, 3 * BLOCK_SIZE)


def undelete(store: MemoryStore, tombstone: str) -> None:
    end = text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "undeleted"})
    store.put(f"{tombstone}.end", [end])


def test_a_deleted_backup_is_gone_for_all_readers_at_once(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    other = lab.opened()
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)

    assert list(other.manifests()) == []
    with pytest.raises(BackupMissing):
        other.manifest(manifest.key)
    assert [each.key for each in store.list("manifests/")] == [
        manifest.key,
        f"{manifest.key}.tombstone-0001",
    ]


def test_any_backup_of_a_chain_may_be_deleted(lab: Lab) -> None:
    first = lab.back_up(DATA)
    second = lab.back_up(noise(2) + DATA[BLOCK_SIZE:], first.images[0])
    third = lab.back_up(noise(3) + DATA[BLOCK_SIZE:], second.images[0])
    for manifest in (first, second):
        lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)

    assert list(lab.repository.manifests()) == [third]
    assert lab.restored(third) == noise(3) + DATA[BLOCK_SIZE:]


def test_a_deletion_may_be_repeated(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    for _ in range(2):
        lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)

    assert len([each for each in store.list("manifests/") if "tombstone" in each.key]) == 2


def test_deleting_what_never_was_says_so(lab: Lab) -> None:
    key = lab.repository.manifest_key("b", START)

    with pytest.raises(BackupMissing, match="no backup b"):
        lab.repository.delete(key, "b", deleted_at=START)
    with pytest.raises(BackupMissing):
        lab.repository.manifest(key)


def test_deleting_a_backup_that_was_given_up_changes_nothing(lab: Lab, store: MemoryStore) -> None:
    key = lab.repository.manifest_key("b", START)
    lab.repository.fence(key, "b")
    lab.repository.delete(key, "b", deleted_at=START)

    assert [each.key for each in store.list("manifests/")] == [key]


def test_an_undeleted_backup_is_back_and_may_be_deleted_again(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    undelete(store, f"{manifest.key}.tombstone-0001")

    assert list(lab.repository.manifests()) == [manifest]
    assert lab.repository.collect(lab.index).backups_purged == 0
    assert lab.restored(manifest) == DATA

    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    assert list(lab.repository.manifests()) == []
    assert lab.repository.collect(lab.index).backups_purged == 1


def test_a_damaged_manifest_is_named_and_can_be_deleted(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    store.replace(manifest.key, store.get(manifest.key)[:-1])

    with pytest.raises(CorruptObject, match=manifest.key):
        lab.repository.manifest(manifest.key)
    with pytest.raises(CorruptObject):
        lab.repository.collect(lab.index)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    assert lab.repository.collect(lab.index).packs_deleted == 2


def test_an_end_that_says_nothing_known_is_damage(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)
    end = text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "maybe"})
    store.put(f"{manifest.key}.tombstone-0001.end", [end])

    with pytest.raises(CorruptObject, match="maybe"):
        list(lab.repository.manifests())


def test_a_manifest_under_another_key_is_refused(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    key = f"manifests/2026-01/00000001-{lab.new_id()}"
    store.put(key, [store.get(manifest.key)])

    with pytest.raises(CorruptObject, match="its key"):
        lab.repository.manifest(key)


def test_objects_of_other_names_are_left_alone(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(DATA)
    store.put("manifests/readme", [b"?"])
    store.put("packs/readme", [b"?"])
    lab.repository.collect(lab.index)

    assert list(lab.repository.manifests()) == [manifest]
    assert store.get("packs/readme") == b"?"
