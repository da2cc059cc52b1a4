"""Rotation of keys: what is opened by which key afterwards, and crashes in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from csbs.repository import KeyFiles, KeyRing, Repository, Rotation, read_key_ring
from csbs.repository.errors import (
    KeyMissing,
    KeyRingChanged,
    RepositoryNotEncrypted,
    RepositoryOwned,
    WrongKey,
)
from csbs.repository.identity import encode_owner
from csbs.repository.objectstore import Bytes, MemoryStore
from csbs.testing.faults import Crash, CrashingStore
from csbs.testing.repositories import CATALOG_ID, START, Lab, noise, restored

ALL = list(Rotation)


@pytest.fixture
def lab(store: MemoryStore, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(store, tmp_path, encrypted=True)
    yield lab
    lab.close()


def copied(files: KeyFiles, folder: Path, name: str) -> KeyFiles:
    """The region key file as it is now, as somebody kept it."""
    folder.mkdir(exist_ok=True)
    copy = folder / name
    copy.write_bytes(files.region_file.read_bytes())
    copy.chmod(0o600)
    return KeyFiles(copy, folder=folder, random_bytes=bytes)


def by_recovery(lab: Lab, folder: Path) -> KeyFiles:
    """A machine that has nothing but the recovery key."""
    path = lab.key_files.waiting_recovery_file(read_key_ring(lab.store, "r").recovery.key_id)
    folder.mkdir(exist_ok=True)
    (folder / "paper").write_text(path.read_text())
    return KeyFiles(
        folder / "region.key",
        folder=folder,
        random_bytes=lab.encryption.random_bytes,
        recovery_file=folder / "paper",
    )


def opened(lab: Lab, files: KeyFiles) -> Repository:
    encryption = type(lab.encryption)(
        wanted=True, files=files, random_bytes=lab.encryption.random_bytes
    )
    return Repository.open(
        lab.store,
        name="the lab's",
        catalog_id=CATALOG_ID,
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=encryption,
    )


def seals(lab: Lab) -> set[bytes]:
    """Ids of the data keys of all packs."""
    return {lab.store.get(each.key)[32:48] for each in lab.store.list("packs/")}


def data_key_ids(ring: KeyRing) -> list[bytes]:
    return [bytes.fromhex(key.id.replace("-", "")) for key in ring.keys if key.use == "data"]


def test_after_a_new_data_key_old_and_new_backups_restore(lab: Lab) -> None:
    old = lab.back_up(noise(1))
    ring = lab.repository.rotate_key(Rotation.DATA)
    before = seals(lab)
    lab.repository = lab.opened()
    new = lab.back_up(noise(1) + noise(2), old.images[0])
    first, second = data_key_ids(ring)

    assert before == {first}
    assert seals(lab) == {first, second}
    assert lab.restored(old) == noise(1)
    assert lab.restored(new) == noise(1) + noise(2)
    assert new.images[0].changed_blocks == 1  # what was there is shared, under its old key


def test_a_repository_that_is_open_goes_on_with_the_keys_it_has(lab: Lab) -> None:
    lab.repository.rotate_key(Rotation.DATA)
    lab.back_up(noise(1))

    assert seals(lab) == {data_key_ids(read_key_ring(lab.store, "r"))[0]}
    assert lab.restored(next(iter(lab.opened().manifests()))) == noise(1)


def test_after_a_new_region_key_the_old_file_no_longer_opens(lab: Lab, tmp_path: Path) -> None:
    manifest = lab.back_up(noise(1))
    old_file = copied(lab.key_files, tmp_path / "kept", "old")
    old = read_key_ring(lab.store, "r")
    new = lab.repository.rotate_key(Rotation.REGION)
    again = lab.opened()

    assert restored(again, manifest.images[0]) == noise(1)
    with pytest.raises(WrongKey):
        opened(lab, old_file)
    assert new.region.key_id != old.region.key_id
    assert [each.key[-8:] for each in lab.store.list("keys/")] == ["00000002"]


def test_after_a_new_region_key_other_repositories_and_copies_open_as_before(
    lab: Lab, tmp_path: Path
) -> None:
    """One file has the keys of all of them; who rotates one must not lose the others."""
    copy = MemoryStore()
    manifest = lab.back_up(noise(1))
    for each in lab.store.list(""):
        copy.put(each.key, [lab.store.get(each.key)])
    other = Lab(MemoryStore(), tmp_path, seed=2, encrypted=True)
    others = other.back_up(noise(2))
    lab.repository.rotate_key(Rotation.REGION)

    assert restored(lab.opened(copy), manifest.images[0]) == noise(1)
    assert restored(other.opened(), others.images[0]) == noise(2)
    other.repository.rotate_key(Rotation.REGION)
    assert len(lab.key_files.region_keys()) == 2  # both have the new one
    assert restored(other.opened(), others.images[0]) == noise(2)
    other.close()


def test_after_a_new_region_key_the_recovery_key_opens_as_before(lab: Lab, tmp_path: Path) -> None:
    manifest = lab.back_up(noise(1))
    for what in (Rotation.REGION, Rotation.DATA, Rotation.REGION):
        lab.repository.rotate_key(what)
    again = opened(lab, by_recovery(lab, tmp_path / "new"))

    assert restored(again, manifest.images[0]) == noise(1)


def test_the_recovery_key_makes_a_new_region_key_where_that_is_lost(
    lab: Lab, tmp_path: Path
) -> None:
    manifest = lab.back_up(noise(1))
    files = by_recovery(lab, tmp_path / "new")
    opened(lab, files).rotate_key(Rotation.REGION)
    without = KeyFiles(files.region_file, folder=tmp_path, random_bytes=bytes)

    assert restored(opened(lab, without), manifest.images[0]) == noise(1)


@pytest.mark.parametrize("what", [Rotation.DATA, Rotation.RECOVERY])
def test_other_rotations_need_the_region_key(lab: Lab, tmp_path: Path, what: Rotation) -> None:
    repository = opened(lab, by_recovery(lab, tmp_path / "new"))

    with pytest.raises(KeyMissing):
        repository.rotate_key(what)
    assert read_key_ring(lab.store, "r").number == 1


def test_after_a_new_recovery_key_the_old_one_no_longer_opens(lab: Lab, tmp_path: Path) -> None:
    manifest = lab.back_up(noise(1))
    old = by_recovery(lab, tmp_path / "old")
    old_id = read_key_ring(lab.store, "r").recovery.key_id
    lab.repository.rotate_key(Rotation.RECOVERY)

    with pytest.raises(WrongKey, match="recovery key"):
        opened(lab, old)
    new = opened(lab, by_recovery(lab, tmp_path / "new"))
    assert restored(new, manifest.images[0]) == noise(1)
    assert restored(lab.opened(), manifest.images[0]) == noise(1)
    assert not lab.key_files.waiting_recovery_file(old_id).exists()


class RacedStore(MemoryStore):
    """Another process rotates just before our ring arrives."""

    def __init__(self, inner: MemoryStore, rotate: Callable[[], KeyRing]) -> None:
        super().__init__()
        self._objects = inner._objects
        self._rotate: Callable[[], KeyRing] | None = rotate

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        rotate, self._rotate = self._rotate, None
        if rotate is not None:
            rotate()
        super().put(key, parts, use_reserve=use_reserve)


@pytest.mark.parametrize("what", ALL)
def test_two_rotations_at_once_are_one(lab: Lab, store: MemoryStore, what: Rotation) -> None:
    raced = RacedStore(store, lambda: lab.repository.rotate_key(Rotation.DATA))

    with pytest.raises(KeyRingChanged, match="the lab's"):
        lab.opened(raced).rotate_key(what)
    assert len(data_key_ids(read_key_ring(store, "r"))) == 2
    lab.opened()


def test_only_the_owner_rotates(lab: Lab) -> None:
    lab.store.put("owners/00000002", [encode_owner(lab.new_id(), START)])

    with pytest.raises(RepositoryOwned):
        lab.repository.rotate_key(Rotation.DATA)


def test_a_plain_repository_has_no_keys_to_rotate(tmp_path: Path) -> None:
    lab = Lab(MemoryStore(), tmp_path)

    with pytest.raises(RepositoryNotEncrypted):
        lab.repository.rotate_key(Rotation.DATA)
    lab.close()


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_a_crash_at_any_store_call_leaves_keys_that_open(
    tmp_path: Path, what: Rotation, *, after_effect: bool
) -> None:
    for crash_at in range(30):
        folder = tmp_path / str(crash_at)
        folder.mkdir()
        lab = Lab(MemoryStore(), folder, encrypted=True)
        manifest = lab.back_up(noise(1))
        crashing = CrashingStore(lab.store, crash_at=crash_at, after_effect=after_effect)
        with suppress(Crash):
            lab.opened(crashing).rotate_key(what)
        _opens_and_goes_on(lab, manifest.key, folder)
        lab.close()
        if not crashing.crashed:
            return
    pytest.fail("more calls than were tried")


class DyingFiles(KeyFiles):
    """The process dies after a change of a file."""

    changes_left = 0

    def next_region_key(self, former_id: str) -> bytes:
        key = super().next_region_key(former_id)
        self._changed()
        return key

    def keep_recovery_key(self, key: bytes) -> None:
        super().keep_recovery_key(key)
        self._changed()

    def drop_recovery_key(self, wanted_id: str) -> None:
        super().drop_recovery_key(wanted_id)
        self._changed()

    def _changed(self) -> None:
        self.changes_left -= 1
        if self.changes_left < 0:
            raise Crash


@pytest.mark.parametrize("what", ALL)
def test_a_crash_after_any_change_of_a_file_leaves_keys_that_open(
    tmp_path: Path, what: Rotation
) -> None:
    for crash_at in range(10):
        folder = tmp_path / str(crash_at)
        folder.mkdir()
        lab = Lab(MemoryStore(), folder, encrypted=True)
        manifest = lab.back_up(noise(1))
        dying = DyingFiles(
            lab.key_files.region_file, folder=folder, random_bytes=lab.encryption.random_bytes
        )
        dying.changes_left = crash_at
        with suppress(Crash):
            opened(lab, dying).rotate_key(what)
        _opens_and_goes_on(lab, manifest.key, folder)
        lab.close()
        if dying.changes_left >= 0:
            return
    pytest.fail("more changes than were tried")


def _opens_and_goes_on(lab: Lab, key: str, folder: Path) -> None:
    """Region key and recovery key open it; every rotation ends well from here on."""
    manifest = lab.opened().manifest(key)
    assert restored(lab.opened(), manifest.images[0]) == noise(1)
    assert restored(opened(lab, by_recovery(lab, folder / "a")), manifest.images[0]) == noise(1)
    for what in ALL:
        lab.opened().rotate_key(what)
    assert restored(lab.opened(), manifest.images[0]) == noise(1)
    assert restored(opened(lab, by_recovery(lab, folder / "b")), manifest.images[0]) == noise(1)
