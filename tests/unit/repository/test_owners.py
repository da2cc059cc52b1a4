"""One catalog owns a repository; another can take it over, and the former one notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import EVERYTHING, CollectProgress, Manifest, Repository, VerifyWatch
from csbs.repository.errors import BackupMissing, CorruptObject, RepositoryOwned
from csbs.repository.identity import current_owner, encode_owner
from csbs.repository.objectstore import Bytes, MemoryStore, ObjectInfo
from csbs.testing.repositories import CATALOG_ID, START, Lab, noise


def opened_by_another(lab: Lab, store: MemoryStore | None = None) -> Repository:
    return Repository.open(
        store or lab.store,
        name="the lab's",
        catalog_id=lab.new_id(),
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=lab.encryption,
    )


def taken_over(lab: Lab) -> Repository:
    return opened_by_another(lab).take_over(START)


def keys(store: MemoryStore, prefix: str = "") -> set[str]:
    return {each.key for each in store.list(prefix)}


class HookedStore(MemoryStore):
    """Something happens just before or after a key is put."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        self.before.pop(key, bool)()
        super().put(key, parts, use_reserve=use_reserve)
        self.after.pop(key, bool)()


@pytest.fixture
def store() -> HookedStore:
    return HookedStore()


def test_a_successor_has_all_backups_and_goes_on(lab: Lab) -> None:
    first = lab.back_up(noise(1))
    deleted = lab.back_up(noise(2))
    lab.repository.delete(deleted.key, deleted.backup_id, deleted_at=START)
    other = opened_by_another(lab)
    assert not other.owned
    other = other.take_over(START)
    lab.repository = other
    second = lab.back_up(noise(3), first.images[0])

    assert other.owned
    assert second.owner == 2
    assert {each.key for each in other.manifests()} == {first.key, second.key}
    assert lab.restored(second) == noise(3)
    assert other.uncounted() == []


def test_a_third_owner_inherits_from_both(lab: Lab, store: HookedStore) -> None:
    first = lab.back_up(noise(1))
    lab.repository = taken_over(lab)
    second = lab.back_up(noise(2))
    third = taken_over(lab)

    assert {each.key for each in third.manifests()} == {first.key, second.key}
    owner = current_owner(store)
    assert owner is not None
    assert (owner.number, set(owner.inherited)) == (3, {first.key, second.key})


OPERATIONS: dict[str, Callable[[Lab, Manifest], object]] = {
    "begin": lambda lab, _: lab.begin(),
    "delete": lambda lab, made: lab.repository.delete(made.key, made.backup_id, deleted_at=START),
    "fence": lambda lab, made: lab.repository.fence(made.key, made.backup_id),
    "collect": lambda lab, _: lab.repository.collect(lab.index),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_former_owner_changes_nothing_any_more(
    lab: Lab, store: HookedStore, operation: str
) -> None:
    manifest = lab.back_up(noise(1))
    lab.begin().abort()
    taken_over(lab)
    before = keys(store)

    with pytest.raises(RepositoryOwned, match="--take-over"):
        OPERATIONS[operation](lab, manifest)
    assert keys(store) == before
    assert lab.restored(manifest) == noise(1)


def test_a_backup_that_the_former_owner_gives_up_leaves_nothing(
    lab: Lab, store: HookedStore
) -> None:
    writer = lab.begin()
    taken_over(lab)
    before = keys(store)

    with pytest.raises(RepositoryOwned):
        writer.commit(created_at=START, facts={})
    assert writer.abort()
    assert keys(store) == before


def test_who_owned_it_before_and_again_must_open_it_anew(lab: Lab) -> None:
    taken_over(lab)
    again = lab.opened().take_over(START)
    again.require_owner()

    with pytest.raises(RepositoryOwned, match=CATALOG_ID):
        lab.repository.require_owner()


def test_a_late_commit_does_not_count_and_its_writer_is_told(lab: Lab, store: HookedStore) -> None:
    first = lab.back_up(noise(1))
    late = lab.begin()
    others: list[Repository] = []
    store.before[late.manifest_key] = lambda: others.append(taken_over(lab))

    with pytest.raises(RepositoryOwned):
        late.commit(created_at=START, facts={})
    assert late.manifest_key in keys(store)
    assert [each.key for each in others[0].manifests()] == [first.key]
    assert [each.key for each in lab.opened().manifests()] == [first.key]
    assert others[0].uncounted() == [late.manifest_key]
    with pytest.raises(BackupMissing):
        others[0].manifest(late.manifest_key)
    assert others[0].fence(late.manifest_key, "late")  # nothing to be done for it


def test_a_commit_that_did_not_see_the_successor_counts(lab: Lab, store: HookedStore) -> None:
    first = lab.back_up(noise(1))
    made: list[Manifest] = []
    store.before["owners/00000002"] = lambda: made.append(lab.back_up(noise(2)))
    other = taken_over(lab)

    assert {each.key for each in other.manifests()} == {first.key, made[0].key}
    owner = current_owner(store)
    assert owner is not None
    assert owner.number == 3


def test_a_commit_that_counts_all_the_same_is_told_to_its_writer_too(
    lab: Lab, store: HookedStore
) -> None:
    """Between the number and the second look: nobody can know, and so it is no success."""
    writer = lab.begin()
    store.after["owners/00000002"] = lambda: store.put(writer.manifest_key, [b"late"])
    other = taken_over(lab)

    assert other._opened.owner.inherited == {writer.manifest_key}
    with pytest.raises(RepositoryOwned):
        writer.commit(created_at=START, facts={})


def test_of_two_successors_one_wins(lab: Lab, store: HookedStore) -> None:
    winner = lab.new_id()
    store.before["owners/00000002"] = lambda: store.put(
        "owners/00000002", [encode_owner(winner, START)]
    )

    with pytest.raises(RepositoryOwned, match=winner):
        taken_over(lab)


def test_a_damaged_manifest_counts_for_the_successor(lab: Lab, store: HookedStore) -> None:
    """Somebody may find a good copy of it; until then nothing is collected."""
    manifest, other = lab.back_up(noise(1)), lab.back_up(noise(2))
    whole = store.get(manifest.key)
    store.replace(manifest.key, whole[:-1])
    successor = taken_over(lab)
    found = dict(successor.survey())

    assert found[other.key] == other
    assert isinstance(found[manifest.key], CorruptObject)
    with pytest.raises(CorruptObject):
        successor.collect(lab.index)
    store.replace(manifest.key, whole)
    assert {each.key for each in successor.manifests()} == {manifest.key, other.key}


def test_a_collection_stops_when_somebody_takes_over(lab: Lab, store: HookedStore) -> None:
    doomed = [lab.back_up(noise(n, 4 * BLOCK_SIZE)) for n in range(3)]
    for each in doomed:
        lab.repository.delete(each.key, each.backup_id, deleted_at=START)

    def on_progress(progress: CollectProgress) -> None:
        if (progress.phase, progress.done) == ("delete", 2):
            taken_over(lab)

    before = keys(store, "packs/")
    with pytest.raises(RepositoryOwned):
        lab.repository.collect(lab.index, progress=on_progress)
    assert len(before) - len(keys(store, "packs/")) == 2


def test_packs_that_a_successor_puts_are_safe_from_a_collection(
    lab: Lab, store: HookedStore
) -> None:
    """The listing may have them, so the owner is looked up behind it."""
    lab.back_up(noise(1))

    class Late(MemoryStore):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            if prefix == "packs/":
                successor = taken_over(lab)
                writer = successor.begin("b", started_at=START, index=lab.index, pack_size=1)
                image = writer.image("disk", BLOCK_SIZE, parent=None)
                image.write(0, image.encoder().encode(0, noise(7)))
                image.finish()
            return store.list(prefix)

    late = Late()
    late._objects = store._objects
    former = lab.opened(late)
    with pytest.raises(RepositoryOwned):
        former.collect(lab.index)
    assert len(keys(store, "packs/")) == 3


def test_a_successor_collects_what_did_not_count(lab: Lab, store: HookedStore) -> None:
    first = lab.back_up(noise(1))
    late = lab.begin()
    image = late.image("disk", 4 * BLOCK_SIZE, parent=None)
    image.write(0, image.encoder().encode(0, noise(2, 4 * BLOCK_SIZE)))
    image.finish()
    others: list[Repository] = []
    store.before[late.manifest_key] = lambda: others.append(taken_over(lab))
    with pytest.raises(RepositoryOwned):
        late.commit(created_at=START, facts={})
    report = others[0].collect(lab.index)

    watch = VerifyWatch(progress=lambda _: None, cancelled=lambda: False)

    assert report.packs_deleted == 2
    assert lab.restored(first) == noise(1)
    assert not others[0].verify(EVERYTHING, found_at=START, watch=watch).damaged


def test_its_index_has_named_blocks_alone(lab: Lab) -> None:
    first = lab.back_up(noise(1, 3 * BLOCK_SIZE))
    deleted = lab.back_up(noise(2, 3 * BLOCK_SIZE))
    lab.repository.delete(deleted.key, deleted.backup_id, deleted_at=START)
    lab.back_up_blocks(3 * BLOCK_SIZE, {1: noise(5)}, first.images[0])
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    successor = taken_over(lab)
    successor.rebuild_index(lab.index)

    def known(data: bytes) -> list[bool]:
        blocks = [data[i : i + BLOCK_SIZE] for i in range(0, len(data), BLOCK_SIZE)]
        found = lab.index.find([successor._packs.digest(block) for block in blocks])
        return [address is not None for address in found]

    assert known(noise(1, 3 * BLOCK_SIZE)) == [True, False, True]
    assert known(noise(2, 3 * BLOCK_SIZE)) == [False] * 3
    assert known(noise(5)) == [True]
