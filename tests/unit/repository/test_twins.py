"""What a repository cannot be read without is there twice: losing one of both costs nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.repository import EVERYTHING, Manifest, Repository, Rotation, VerifyReport, VerifyWatch
from csbs.repository.damage import Damage, known_damage
from csbs.repository.errors import CorruptObject, RepositoryOwned
from csbs.repository.identity import encode_owner
from csbs.repository.objectstore import FolderStore, MemoryStore
from csbs.testing.repositories import START, Lab, noise, restored

WATCH = VerifyWatch(progress=lambda _: None, cancelled=lambda: False)
Hurt = Callable[[MemoryStore, str], None]


def verified(repository: Repository) -> VerifyReport:
    return repository.verify(EVERYTHING, found_at=START, watch=WATCH)


def content(store: MemoryStore) -> dict[str, bytes]:
    return {each.key: store.get(each.key) for each in store.list("")}


def flip(store: MemoryStore, key: str) -> None:
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.replace(key, bytes(data))


def cut(store: MemoryStore, key: str) -> None:
    store.replace(key, store.get(key)[:-1])


def delete(store: MemoryStore, key: str) -> None:
    store.delete(key)


def empty(store: MemoryStore, key: str) -> None:
    store.replace(key, b"")


def vital(store: MemoryStore) -> list[str]:
    return [key for key in content(store) if key.startswith(("config", "owners/", "keys/"))]


def opened_by(lab: Lab, catalog_id: str) -> Repository:
    return Repository.open(
        lab.store,
        name="the lab's",
        catalog_id=catalog_id,
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=lab.encryption,
    )


@pytest.mark.parametrize("which", ["object", "twin"])
@pytest.mark.parametrize("hurt", [flip, cut, empty, delete])
def test_one_of_both_is_enough_and_a_verification_puts_back_the_other(
    lab: Lab, store: MemoryStore, hurt: Hurt, which: str
) -> None:
    manifest = lab.back_up(noise(1))
    before = content(store)
    assert len(vital(store)) == (3 if lab.encryption.wanted else 2)
    for key in vital(store):
        lost = key if which == "object" else f"twins/{key}"
        hurt(store, lost)
        repository = lab.opened()
        repository.require_owner()
        assert restored(repository, manifest.images[0]) == noise(1)

        report = verified(repository)

        named = [each.key for each in report.objects]
        is_told = (which, hurt) != ("twin", delete)  # its writer may have died before it
        assert named == ([lost] if is_told else [])
        assert report.mended == tuple(named)
        assert content(store) == before
        assert not verified(lab.opened()).damaged


@pytest.mark.parametrize("folder", ["owners", "keys", "twins"])
def test_a_lost_folder_is_put_back(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "store"
    store = FolderStore(root)
    store.make()
    lab = Lab(store, tmp_path, encrypted=True)
    manifest = lab.back_up(noise(1))
    before = {each.key: store.get(each.key) for each in store.list("")}
    shutil.rmtree(root / folder)
    lab.close()
    repository = lab.opened(FolderStore(root))

    assert restored(repository, manifest.images[0]) == noise(1)
    assert verified(repository).damaged == (folder != "twins")
    assert {each.key: store.get(each.key) for each in store.list("")} == before
    assert not verified(lab.opened()).damaged


def test_where_both_are_lost_nothing_is_made_anew(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(noise(1))
    for key in vital(store):
        before = content(store)
        delete(store, key)
        delete(store, f"twins/{key}")
        left = content(store)

        with pytest.raises(CorruptObject):
            lab.opened()
        assert content(store) == left
        for each in (key, f"twins/{key}"):
            store.replace(each, before[each])
        lab.opened()


def test_a_verification_of_who_may_only_read_puts_nothing_back(
    lab: Lab, store: MemoryStore
) -> None:
    lab.back_up(noise(1))
    flip(store, "config")
    before = content(store)

    report = verified(opened_by(lab, lab.new_id()))

    assert [each.key for each in report.objects] == ["config"]
    assert report.mended == ()
    assert content(store) == before


def test_an_owner_whose_object_is_lost_is_not_forgotten(lab: Lab, store: MemoryStore) -> None:
    """Else the former owner would be one again, and collect what the new one stored."""
    lab.back_up(noise(1))
    successor = opened_by(lab, lab.new_id()).take_over(START)
    delete(store, "owners/00000002")

    successor.require_owner()
    with pytest.raises(RepositoryOwned):
        lab.opened().require_owner()


def test_a_former_owner_collects_nothing_where_its_successor_is_lost(
    lab: Lab, store: MemoryStore
) -> None:
    first = lab.back_up(noise(1))
    successor = opened_by(lab, lab.new_id())
    lab.repository = successor.take_over(START)
    second = lab.back_up(noise(2))
    inherits = [first.key]
    delete(store, "owners/00000002")
    delete(store, "twins/owners/00000002")
    before = content(store)

    with pytest.raises(CorruptObject, match="owners/00000002"):
        lab.opened().collect(lab.index)
    report = verified(lab.opened())

    assert [each.key for each in report.objects] == ["owners/00000002"]
    assert content(store) == before
    owner = successor._opened.catalog_id
    store.put("owners/00000002", [encode_owner(owner, START, inherits)])
    assert {each.key for each in opened_by(lab, owner).manifests()} == {first.key, second.key}


def test_a_ring_that_was_given_up_leaves_no_twin(store: MemoryStore, tmp_path: Path) -> None:
    lab = Lab(store, tmp_path, encrypted=True)
    lab.repository.rotate_key(Rotation.DATA)
    flip(store, max(each.key for each in store.list("keys/")))
    lab.repository.rotate_key(Rotation.REGION)

    assert [each.key[-1] for each in store.list("keys/")] == ["3"]
    assert [each.key[-1] for each in store.list("twins/keys/")] == ["3"]
    lab.close()


# --- what deletes and voids ---------------------------------------------------------------------


def deleted_and_collected(lab: Lab) -> Manifest:
    gone = lab.back_up(noise(1))
    lab.repository.delete(gone.key, gone.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)
    return gone


@pytest.mark.parametrize("suffix", ["", ".tombstone-0001", ".tombstone-0001.end"])
def test_damage_to_what_is_left_of_a_deleted_backup_stops_nothing_and_is_mended(
    lab: Lab, store: MemoryStore, suffix: str
) -> None:
    gone = deleted_and_collected(lab)
    kept = lab.back_up(noise(2))
    flip(store, gone.key + suffix)

    assert [each.key for each in lab.opened().manifests()] == [kept.key]
    lab.repository.collect(lab.index)
    report = verified(lab.opened())

    assert [each.key for each in report.objects] == [gone.key + suffix]
    assert report.mended == (gone.key + suffix,)
    assert not verified(lab.opened()).damaged
    assert [each.key for each in lab.opened().manifests()] == [kept.key]


def test_a_void_of_a_failed_backup_that_is_damaged_is_one_still(
    lab: Lab, store: MemoryStore
) -> None:
    writer = lab.begin()
    writer.abort()
    flip(store, writer.manifest_key)

    assert list(lab.opened().manifests()) == []
    lab.repository.collect(lab.index)
    assert verified(lab.opened()).mended == (writer.manifest_key,)
    assert not verified(lab.opened()).damaged


def test_a_backup_of_which_nobody_knows_whether_it_was_purged_can_be_deleted(
    lab: Lab, store: MemoryStore
) -> None:
    """A collection died after the end of its tombstone, which then was damaged."""
    lost, kept = lab.back_up(noise(1)), lab.back_up(noise(2))
    lab.repository.delete(lost.key, lost.backup_id, deleted_at=START)
    store.put(f"{lost.key}.tombstone-0001.end", [b"nonsense"])
    with pytest.raises(CorruptObject):
        lab.repository.collect(lab.index)

    lab.repository.delete(lost.key, lost.backup_id, deleted_at=START + timedelta(days=1))
    lab.repository.collect(lab.index)

    assert [each.key for each in lab.opened().manifests()] == [kept.key]
    assert verified(lab.opened()).mended == (f"{lost.key}.tombstone-0001.end",)
    assert not verified(lab.opened()).damaged


def test_a_damaged_record_of_damage_is_replaced(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(noise(1))
    lab.repository.doubt(Damage({bytes(16): frozenset({1})}), found_at=START)
    flip(store, "damage/00000001")

    report = verified(lab.opened())

    assert [each.key for each in report.objects] == ["damage/00000001"]
    assert [each.key for each in store.list("damage/")] == ["damage/00000002"]
    assert known_damage(store) == Damage()
    assert not verified(lab.opened()).damaged
