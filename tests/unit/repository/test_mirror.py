"""A copy of a repository: broken off it is never a wrong one, repeated it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.domain.errors import OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import Damage, Manifest, Rotation
from csbs.repository.damage import keep_damage, known_damage
from csbs.repository.errors import CorruptObject, RepositoryNotFound
from csbs.repository.identity import encode_owner
from csbs.repository.mirror import Mirror, MirrorMismatch, MirrorReport, mirror
from csbs.repository.objectstore import MemoryStore, ObjectInfo, ObjectStore
from csbs.testing.faults import Crash, CrashingStore, RecordingStore
from csbs.testing.repositories import START, Lab, noise

FIRST, SECOND = noise(1, 9 * BLOCK_SIZE), noise(2, 9 * BLOCK_SIZE)


@pytest.fixture
def source() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def target() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def lab(source: MemoryStore, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(source, tmp_path)
    yield lab
    lab.close()


def copied(
    source: ObjectStore,
    target: ObjectStore,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MirrorReport:
    return mirror(
        Mirror(
            source=source,
            target=target,
            source_name="the source",
            target_name="the target",
            progress=progress,
            cancelled=cancelled,
        )
    )


def objects(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def backups(lab: Lab, target: ObjectStore) -> dict[str, bytes]:
    """The bytes of every backup of the target, by its key."""
    repository = lab.opened(target)
    found = {}
    for manifest in repository.manifests():
        image = manifest.images[0]
        found[manifest.key] = repository.reader(image).read(0, image.size_bytes)
    return found


def test_a_copy_has_every_object_and_no_other(lab: Lab, source: MemoryStore) -> None:
    target = MemoryStore()
    first = lab.back_up(FIRST)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    lab.back_up(SECOND)
    source.put("notes.txt", [b"foreign"])
    progress: list[Progress] = []

    report = copied(source, target, progress=progress.append)

    expected = objects(source)
    del expected["notes.txt"]
    assert objects(target) == expected
    assert report.copied_bytes == sum(map(len, expected.values()))
    assert (report.copied_objects, report.present_objects) == (len(expected), 0)
    assert progress[-1].done_bytes == progress[-1].total_bytes > 0


def test_a_repeated_copy_moves_what_is_new_alone(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    first = lab.back_up(FIRST)
    copied(source, target)
    assert copied(source, target).copied_objects == 0
    second = lab.back_up(SECOND)
    before = set(objects(target))

    report = copied(source, target)

    assert report.copied_objects == len(set(objects(target)) - before) > 0
    assert report.present_objects == len(before)
    assert backups(lab, target) == {first.key: FIRST, second.key: SECOND}


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_broken_off_anywhere_the_target_is_no_repository_or_a_right_one(
    lab: Lab, source: MemoryStore, *, after_effect: bool
) -> None:
    first, second = lab.back_up(FIRST), lab.back_up(SECOND)
    lab.repository.delete(second.key, second.backup_id, deleted_at=START)
    third = lab.back_up(FIRST)
    crash_at, crashed = 0, True
    while crashed:
        target = MemoryStore()
        crashing = CrashingStore(target, crash_at=crash_at, after_effect=after_effect)
        try:
            copied(source, crashing)
        except Crash:
            assert_right_or_none(lab, target, {first.key: FIRST, third.key: FIRST})
            copied(source, target)
        crashed = crashing.crashed
        crash_at += 1
        assert objects(target) == objects(source)
    assert crash_at > len(objects(source))


def assert_right_or_none(lab: Lab, target: MemoryStore, whole: dict[str, bytes]) -> None:
    if "twins/config" in objects(target):
        assert backups(lab, target) == whole
    elif any(key.startswith("packs/") for key in objects(target)):
        with pytest.raises(CorruptObject, match="config"):
            lab.opened(target)


def test_a_second_copy_that_breaks_off_keeps_every_backup_of_the_target_whole(
    lab: Lab, source: MemoryStore
) -> None:
    first = lab.back_up(FIRST)
    whole = {first.key: FIRST}
    done = MemoryStore()
    copied(source, done)
    second = lab.back_up(SECOND)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    allowed = [whole, {}, {second.key: SECOND}]
    crash_at, crashed = 0, True
    while crashed:
        target = MemoryStore()
        for key, data in objects(done).items():
            target.put(key, [data])
        crashing = CrashingStore(target, crash_at=crash_at, after_effect=True)
        try:
            copied(source, crashing)
        except Crash:
            assert backups(lab, target) in allowed
        crashed = crashing.crashed
        crash_at += 1


class _WrittenMeanwhile(MemoryStore):
    """Somebody commits a backup when packs are first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.on_packs: Callable[[], object] = lambda: None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix == "packs/":
            act, self.on_packs = self.on_packs, lambda: None
            act()
        return super().list(prefix)


def test_of_a_repository_that_is_written_to_the_copy_has_what_was_committed_before(
    tmp_path: Path, target: MemoryStore
) -> None:
    source = _WrittenMeanwhile()
    lab = Lab(source, tmp_path)
    first = lab.back_up(FIRST)
    later: list[Manifest] = []
    source.on_packs = lambda: later.append(lab.back_up(SECOND))

    copied(source, target)
    assert backups(lab, target) == {first.key: FIRST}

    copied(source, target)
    lab.close()
    assert backups(lab, target) == {first.key: FIRST, later[0].key: SECOND}


def test_what_was_purged_at_the_source_becomes_void_at_the_target(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    first, second = lab.back_up(FIRST), lab.back_up(SECOND)
    copied(source, target)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)

    copied(source, target)

    assert backups(lab, target) == {second.key: SECOND}
    assert target.get(first.key) == source.get(first.key)
    # Packs stay until somebody collects there.
    assert set(objects(source)) < set(objects(target))


def test_another_repository_at_the_target_is_left_alone(
    lab: Lab, source: MemoryStore, target: MemoryStore, tmp_path: Path
) -> None:
    lab.back_up(FIRST)
    (tmp_path / "other").mkdir()
    other = Lab(target, tmp_path / "other", seed=2)
    other.back_up(SECOND)
    before = objects(target)

    with pytest.raises(MirrorMismatch, match="config differs"):
        copied(source, target)
    other.close()
    assert objects(target) == before


def test_a_damaged_pack_is_named_and_all_else_copied(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    lab.back_up(FIRST)
    key = next(info.key for info in source.list("packs/"))
    good = source.get(key)
    source.replace(key, good[:100] + bytes([good[100] ^ 1]) + good[101:])

    report = copied(source, target)

    assert report.damaged == (key,)
    assert set(objects(source)) - set(objects(target)) == {key}
    source.replace(key, good)
    assert copied(source, target).damaged == ()
    assert objects(target) == objects(source)


def test_what_is_known_of_damage_in_a_pack_goes_along_with_it(
    source: MemoryStore, target: MemoryStore, lab: Lab
) -> None:
    """A pack that is at the target already may be whole there; and both may find something."""
    lab.back_up(FIRST)
    copied(source, target)
    lab.back_up(SECOND)
    first, second = (
        bytes.fromhex(next(key[-32:] for key in keys))
        for keys in (_packs(target), _packs(source) - _packs(target))
    )
    keep_damage(source, Damage({first: frozenset({0}), second: frozenset({1})}), START)
    keep_damage(target, Damage({bytes(16): frozenset({2})}), START + timedelta(days=1))

    for _ in range(2):
        copied(source, target)
        found = {bytes(16): frozenset({2}), second: frozenset({1})}
        assert known_damage(target) == Damage(found)
    assert len(list(target.list("damage/"))) == 1


def test_a_cancelled_copy_goes_on_where_it_was(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    lab.back_up(noise(3, 60 * BLOCK_SIZE))
    cancel = threading.Event()

    def after_a_pack(_: Progress) -> None:
        cancel.set()

    with pytest.raises(OperationCancelled):
        copied(source, target, progress=after_a_pack, cancelled=cancel.is_set)
    there = len(objects(target))
    recorded = RecordingStore(target)
    copied(source, recorded)

    assert 0 < there < len(objects(source))
    puts = [key for method, key in recorded.calls if method == "put"]
    assert len(puts) == len(objects(source)) - there
    assert puts[-1] == "config"


def test_where_nothing_is_nothing_is_copied(source: MemoryStore, target: MemoryStore) -> None:
    with pytest.raises(RepositoryNotFound, match="the source"):
        copied(source, target)


# --- damage at either end -------------------------------------------------------------------------


def cut(store: MemoryStore, key: str) -> None:
    store.replace(key, store.get(key)[:-1])


def flip(store: MemoryStore, key: str) -> None:
    data = bytearray(store.get(key))
    data[20] ^= 1
    store.replace(key, bytes(data))


@pytest.mark.parametrize("prefix", ["packs/", "manifests/", "owners/", "twins/owners/", "config"])
def test_what_is_cut_at_the_target_is_copied_again(
    lab: Lab, source: MemoryStore, target: MemoryStore, prefix: str
) -> None:
    manifest = lab.back_up(FIRST)
    copied(source, target)
    cut(target, next(iter(target.list(prefix))).key)

    report = copied(source, target)

    assert (report.copied_objects, report.damaged) == (1, ())
    assert objects(target) == objects(source)
    assert backups(lab, target) == {manifest.key: FIRST}


def test_flipped_bits_of_what_is_vital_are_noticed_at_the_target(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    lab.back_up(FIRST)
    copied(source, target)
    for key in ("config", "twins/config", "owners/00000001", "twins/owners/00000001"):
        flip(target, key)

    assert copied(source, target).copied_objects == 4
    assert objects(target) == objects(source)


@pytest.mark.parametrize("hurt", [cut, flip])
def test_damage_at_the_source_never_reaches_the_target(
    lab: Lab, source: MemoryStore, target: MemoryStore, hurt: Callable[[MemoryStore, str], None]
) -> None:
    first = lab.back_up(FIRST)
    copied(source, target)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    second = lab.back_up(SECOND)
    whole = objects(source)
    for key in (f"{first.key}.tombstone-0001", "owners/00000001", "twins/config"):
        hurt(source, key)
    if hurt is cut:  # a flipped bit of a manifest is not seen without keys
        cut(source, second.key)

    report = copied(source, target)

    lost = {f"{first.key}.tombstone-0001"} | ({second.key} if hurt is cut else set())
    assert set(report.damaged) == lost
    assert objects(target) == {key: data for key, data in whole.items() if key not in lost}


def test_a_lost_config_is_copied_from_its_twin(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    manifest = lab.back_up(FIRST)
    whole = objects(source)
    source.delete("config")

    assert copied(source, target).damaged == ()
    assert objects(target) == whole
    assert backups(lab, target) == {manifest.key: FIRST}


def test_a_key_ring_that_was_given_up_leaves_the_target_too(
    source: MemoryStore, target: MemoryStore, tmp_path: Path
) -> None:
    """The old region key would open it."""
    (tmp_path / "keys").mkdir()
    lab = Lab(source, tmp_path / "keys", encrypted=True)
    manifest = lab.back_up(FIRST)
    copied(source, target)
    lab.repository.rotate_key(Rotation.REGION)

    copied(source, target)

    assert objects(target) == objects(source)
    assert [key[-8:] for key in objects(target) if key.startswith("keys/")] == ["00000002"]
    assert backups(lab, target) == {manifest.key: FIRST}
    lab.close()


def test_a_target_that_somebody_took_over_is_left_alone(
    lab: Lab, source: MemoryStore, target: MemoryStore
) -> None:
    """Two owners of the same number: each one's backups would count as the other's."""
    first = lab.back_up(FIRST)
    copied(source, target)
    for store, catalog_id in ((source, "1" * 8), (target, "2" * 8)):
        store.put("owners/00000002", [encode_owner(catalog_id, START, [first.key])])
    before = objects(target)

    with pytest.raises(MirrorMismatch, match="owners/00000002"):
        copied(source, target)
    assert objects(target) == before


def _packs(store: MemoryStore) -> set[str]:
    return {info.key for info in store.list("packs/")}
