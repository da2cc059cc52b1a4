"""Opening encrypted repositories: new ones, with the right key, a wrong one, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.domain.errors import CsbsError
from csbs.repository import Encryption, KeyFiles, Repository, Rotation, read_key_ring, text_object
from csbs.repository.errors import (
    CorruptObject,
    KeyFileUnusable,
    KeyMissing,
    RepositoryNotEncrypted,
    RepositoryNotFound,
    RepositoryTooNew,
    WrongKey,
)
from csbs.repository.identity import encode_config, new_config
from csbs.repository.key_ring import (
    KeyRing,
    Wraps,
    decode_ring,
    encode_ring,
    new_ring,
    wrapped_ring,
)
from csbs.repository.key_text import KeyKind, keys_of_text
from csbs.repository.objectstore import Bytes, MemoryStore
from csbs.repository.twins import delete_both
from csbs.repository.unlock import open_ring, wrap_for
from csbs.repository.wrapping import RecoveryUnwrap
from csbs.testing.faults import Crash, CrashingStore
from csbs.testing.repositories import CATALOG_ID, START, Lab, noise, restored

NAME = "file:///store"


@pytest.fixture
def lab(store: MemoryStore, tmp_path: Path) -> Lab:
    lab = Lab(store, tmp_path, encrypted=True)
    lab.index.close()
    return lab


def opened(
    store: MemoryStore, lab: Lab, files: KeyFiles | None = None, *, wanted: bool = True
) -> Repository:
    encryption = Encryption(
        wanted=wanted, files=files or lab.key_files, random_bytes=lab.encryption.random_bytes
    )
    return Repository.open(
        store,
        name=NAME,
        catalog_id=CATALOG_ID,
        clock=lambda: START,
        new_id=lab.new_id,
        encryption=encryption,
    )


def files_of(folder: Path, *, recovery_file: Path | None = None) -> KeyFiles:
    """Files on another machine."""
    return KeyFiles(
        folder / "region.key", folder=folder, random_bytes=noise_of, recovery_file=recovery_file
    )


def noise_of(size: int) -> bytes:
    return noise(99, size)


def content(store: MemoryStore) -> dict[str, bytes]:
    return {each.key: store.get(each.key) for each in store.list("")}


def recovery_file_of(lab: Lab, store: MemoryStore) -> Path:
    return lab.key_files.waiting_recovery_file(read_key_ring(store, NAME).recovery.key_id)


# --- new ------------------------------------------------------------------------------------------


def test_a_new_repository_has_no_key_in_plain(lab: Lab, store: MemoryStore) -> None:
    ring = read_key_ring(store, NAME)

    fields = text_object.decode("config", text_object.CONFIG_MAGIC, store.get("config"))
    assert fields["cipher"] == "aes-256-gcm"
    assert "digest_key" not in fields
    assert "mac_key" not in fields
    assert sorted(content(store)) == [
        "config",
        f"keys/{ring.repository_id}/00000001",
        "owners/00000001",
        "twins/config",
        f"twins/keys/{ring.repository_id}/00000001",
        "twins/owners/00000001",
    ]


def test_opening_again_changes_nothing(lab: Lab, store: MemoryStore) -> None:
    before, region = content(store), lab.key_files.region_file.read_bytes()
    opened(store, lab)

    assert content(store) == before
    assert lab.key_files.region_file.read_bytes() == region


def test_the_recovery_key_waits_in_a_file_of_its_owner(lab: Lab, store: MemoryStore) -> None:
    path = recovery_file_of(lab, store)

    assert path.stat().st_mode & 0o777 == 0o600
    assert lab.key_files.region_file.stat().st_mode & 0o777 == 0o600


def test_encryption_that_is_not_wanted_makes_a_plain_repository(lab: Lab) -> None:
    store = MemoryStore()
    opened(store, lab, wanted=False)

    fields = text_object.decode("config", text_object.CONFIG_MAGIC, store.get("config"))
    assert fields["cipher"] is None
    assert not list(store.list("keys/"))


class LateStore(MemoryStore):
    """Another process makes the repository just before our config arrives."""

    def __init__(self, winners: MemoryStore) -> None:
        super().__init__()
        self._winners = winners

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        if key == "config" and "config" not in self._objects:
            for each in self._winners.list(""):
                super().put(each.key, [self._winners.get(each.key)])
        super().put(key, parts, use_reserve=use_reserve)


def test_who_loses_the_race_uses_the_winners_keys_and_leaves_none(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    waiting = set(tmp_path.glob("recovery-*.key"))
    late = LateStore(store)
    loser = opened(late, lab)

    assert loser._opened.keys.digest_key == lab.repository._opened.keys.digest_key
    assert content(late) == content(store)
    assert set(tmp_path.glob("recovery-*.key")) == waiting


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_a_crash_while_a_repository_is_made_never_loses_a_key(
    tmp_path: Path, *, after_effect: bool
) -> None:
    for crash_at in range(30):
        store, folder = MemoryStore(), tmp_path / str(crash_at)
        folder.mkdir()
        crashing = CrashingStore(store, crash_at=crash_at, after_effect=after_effect)
        with suppress(Crash):
            Lab(crashing, folder, encrypted=True).close()
        lab = Lab(store, folder, seed=2, encrypted=True)
        manifest = lab.back_up(noise(1))
        recovery = files_of(tmp_path / "none", recovery_file=recovery_file_of(lab, store))
        again = opened(store, lab, recovery)
        lab.close()

        assert restored(again, manifest.images[0]) == noise(1), crash_at
        if not crashing.crashed:
            return
    pytest.fail("more calls than were tried")


def test_what_is_shown_of_keys_in_a_log_has_none(lab: Lab, store: MemoryStore) -> None:
    ring = open_ring(NAME, read_key_ring(store, NAME), lab.key_files)
    shown = f"{ring} {ring.recovery_lock} {lab.repository._opened}"

    secrets = [key.secret for key in ring.keys]
    secrets += [secrets[3][:32], secrets[3][32:], *lab.key_files.region_keys()]
    for secret in secrets:
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
    assert ring.keys[0].id in shown


# --- old, with keys -------------------------------------------------------------------------------


def test_the_recovery_key_opens_what_the_region_key_wrote(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    writer = lab.repository
    other = opened(
        store, lab, files_of(tmp_path / "new", recovery_file=recovery_file_of(lab, store))
    )

    assert other._opened.keys.digest_key == writer._opened.keys.digest_key
    assert other._opened.keys.manifests.mac_key == writer._opened.keys.manifests.mac_key
    assert not (tmp_path / "new" / "region.key").exists()


def refused(store: MemoryStore, lab: Lab, files: KeyFiles) -> CsbsError:
    """The error of opening; nothing in the store was changed by it."""
    before = content(store)
    with pytest.raises(CsbsError) as caught:
        opened(store, lab, files)
    assert content(store) == before
    return caught.value


def test_a_missing_key_names_repository_key_and_file_and_hurts_nothing(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    files = files_of(tmp_path / "elsewhere")
    error = refused(store, lab, files)

    assert isinstance(error, KeyMissing)
    assert error.kind == "unavailable"
    for named in (NAME, read_key_ring(store, NAME).region.key_id, str(files.region_file)):
        assert named in str(error)
    assert not files.region_file.exists()  # a new one would only confuse


def test_a_wrong_key_names_what_is_needed_and_hurts_nothing(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    files = files_of(tmp_path / "elsewhere")
    files.newest_region_key()
    error = refused(store, lab, files)

    assert isinstance(error, WrongKey)
    assert error.kind == "denied"
    for named in (NAME, read_key_ring(store, NAME).region.key_id, str(files.region_file)):
        assert named in str(error)


def test_a_wrong_recovery_key_is_refused(lab: Lab, store: MemoryStore, tmp_path: Path) -> None:
    other = MemoryStore()
    opened(other, lab)
    files = files_of(tmp_path, recovery_file=recovery_file_of(lab, other))
    error = refused(store, lab, files)

    assert isinstance(error, WrongKey)
    assert "recovery_key_file" in str(error)


def test_without_any_keys_given_an_encrypted_repository_says_so(
    lab: Lab, store: MemoryStore
) -> None:
    with pytest.raises(KeyMissing, match="encrypted"):
        Repository.open(
            store, name=NAME, catalog_id=CATALOG_ID, clock=lambda: START, new_id=lab.new_id
        )


def test_an_empty_store_with_a_wrong_key_file_is_no_new_repository_over_an_old_one(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    """Only the config is gone: what the packs hold needs the keys that it named."""
    store.put("packs/00/00000000000000000000000000000000", [b"x"])
    store.delete("config")
    store.delete("twins/config")

    assert isinstance(refused(store, lab, files_of(tmp_path / "elsewhere")), CorruptObject)


# --- plain where encryption is wanted -------------------------------------------------------------


def test_a_plain_repository_is_read_and_not_written_where_encryption_is_wanted(
    tmp_path: Path,
) -> None:
    """Somebody who may write to the store could put a plain one in the place of ours."""
    store = MemoryStore()
    plain = Lab(store, tmp_path)
    manifest = plain.back_up(noise(1))
    repository = opened(store, plain)

    assert restored(repository, manifest.images[0]) == noise(1)
    with pytest.raises(RepositoryNotEncrypted, match=NAME):
        repository.begin("b", started_at=START, index=plain.index)
    plain.close()


def test_an_encrypted_repository_stays_so_whatever_is_wanted(lab: Lab, store: MemoryStore) -> None:
    assert opened(store, lab, wanted=False)._opened.keys.data is not None


# --- the ring -------------------------------------------------------------------------------------


def _ring(store: MemoryStore) -> tuple[str, KeyRing]:
    key = max(each.key for each in store.list("keys/"))
    return key, decode_ring(key, store.get(key))


def _with_first(ring: KeyRing, *, region: bytes, recovery: bytes) -> KeyRing:
    return replace(
        ring, keys=(replace(ring.keys[0], region=region, recovery=recovery), *ring.keys[1:])
    )


RING_CHANGES: dict[str, Callable[[KeyRing], KeyRing]] = {
    "the newest data key left out": lambda ring: replace(ring, keys=ring.keys[:-1]),
    "the oldest data key left out": lambda ring: replace(ring, keys=(*ring.keys[:4], ring.keys[5])),
    "the data keys swapped": lambda ring: replace(
        ring, keys=(*ring.keys[:4], ring.keys[5], ring.keys[4])
    ),
    "a key twice": lambda ring: replace(ring, keys=(*ring.keys, ring.keys[-1])),
    "two keys that swapped uses": lambda ring: replace(
        ring,
        keys=(
            replace(ring.keys[0], use=ring.keys[1].use),
            replace(ring.keys[1], use=ring.keys[0].use),
            *ring.keys[2:],
        ),
    ),
    "a key of another time": lambda ring: replace(
        ring, keys=(*ring.keys[:-1], replace(ring.keys[-1], since="2020-01-01T00:00:00Z"))
    ),
    "another number than its key says": lambda ring: replace(ring, number=7),
    "another repository than its key says": lambda ring: replace(
        ring, repository_id="99999999-2222-4333-8444-555555555555"
    ),
    "other wrapped bytes": lambda ring: _with_first(ring, region=bytes(60), recovery=bytes(80)),
    "wrapped bytes flipped": lambda ring: _with_first(
        ring,
        region=bytes([ring.keys[0].region[0] ^ 1]) + ring.keys[0].region[1:],
        recovery=bytes([(ring.keys[0].recovery or b"")[0] ^ 1])
        + (ring.keys[0].recovery or b"")[1:],
    ),
    "wrapped bytes cut": lambda ring: _with_first(ring, region=b"", recovery=b""),
}


@pytest.fixture(params=["region", "recovery"])
def files(request: pytest.FixtureRequest, lab: Lab, store: MemoryStore, tmp_path: Path) -> KeyFiles:
    """Files that open the repository by one of its keys."""
    if request.param == "region":
        return lab.key_files
    return files_of(tmp_path / "new", recovery_file=recovery_file_of(lab, store))


@pytest.mark.parametrize("change", RING_CHANGES.values(), ids=RING_CHANGES)
def test_a_ring_that_was_tampered_with_does_not_open(
    lab: Lab, store: MemoryStore, files: KeyFiles, change: Callable[[KeyRing], KeyRing]
) -> None:
    lab.repository.rotate_key(Rotation.DATA)
    key, ring = _ring(store)
    store.replace(key, encode_ring(change(ring)))
    store.delete(f"twins/{key}")

    assert isinstance(refused(store, lab, files), CorruptObject)


def test_an_older_ring_does_not_open_as_a_newer_one(
    lab: Lab, store: MemoryStore, files: KeyFiles
) -> None:
    key, ring = _ring(store)
    store.put(f"{key[:-1]}2", [encode_ring(replace(ring, number=2))])

    assert isinstance(refused(store, lab, files), CorruptObject)


def test_who_has_no_key_cannot_make_a_ring_for_the_recovery_key(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    """Its public key is enough to wrap, and is told to nobody; without the other half it is not."""
    recovery_file = recovery_file_of(lab, store)
    (recovery_key,) = keys_of_text(KeyKind.RECOVERY, recovery_file.read_text())
    lock = RecoveryUnwrap(recovery_key).lock
    guessed = replace(lock, authentication=bytes(32))
    key, ring = _ring(store)
    source = lab.encryption.source(START, lab.new_id)
    wraps = Wraps(
        region=wrap_for(noise(7, 32), ring.repository_id),
        region_since="",
        recovery_key_id=ring.recovery.key_id,
        recovery_since="",
    )
    forged = wrapped_ring(new_ring(ring.repository_id, guessed, source), 2, wraps, source)
    store.put(f"{key[:-1]}2", [encode_ring(forged)])

    files = files_of(tmp_path / "new", recovery_file=recovery_file)
    assert isinstance(refused(store, lab, files), CorruptObject)


def test_a_ring_that_lacks_a_use_is_damage(lab: Lab, store: MemoryStore) -> None:
    key, ring = _ring(store)
    store.replace(key, encode_ring(replace(ring, keys=ring.keys[1:])))
    store.delete(f"twins/{key}")

    with pytest.raises(CorruptObject, match="its fields"):
        opened(store, lab)


def test_a_lost_ring_is_damage_and_never_made_anew(lab: Lab, store: MemoryStore) -> None:
    key, _ = _ring(store)
    store.delete(f"twins/{key}")
    store.delete(key)

    assert isinstance(refused(store, lab, lab.key_files), CorruptObject)


def test_a_ring_of_a_newer_format_is_refused(lab: Lab, store: MemoryStore) -> None:
    key, _ = _ring(store)
    fields = text_object.decode(key, text_object.KEY_RING_MAGIC, store.get(key))
    newer = text_object.encode(text_object.KEY_RING_MAGIC, {**fields, "format": 2})
    store.replace(key, newer)

    assert isinstance(refused(store, lab, lab.key_files), RepositoryTooNew)


def test_a_ring_is_shown_without_a_key(lab: Lab, store: MemoryStore) -> None:
    ring = read_key_ring(store, NAME)

    assert [str(key.use) for key in ring.keys] == ["digest", "mac", "seal", "recovery", "data"]
    assert ring.region.since == "2026-01-31T23:30:00Z"


def test_nothing_to_show_is_told_apart(lab: Lab) -> None:
    plain = MemoryStore()
    plain.put("config", [encode_config(new_config(START, lab.new_id))])

    with pytest.raises(RepositoryNotFound):
        read_key_ring(MemoryStore(), NAME)
    with pytest.raises(RepositoryNotEncrypted):
        read_key_ring(plain, NAME)


class VanishingStore(MemoryStore):
    """The ring that was listed goes away before it is read: a rotation put a newer one."""

    def __init__(self, inner: MemoryStore, newer: bytes) -> None:
        super().__init__()
        for each in inner.list(""):
            super().put(each.key, [inner.get(each.key)])
        self._newer = newer

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        if key.startswith("keys/") and key.endswith("1") and self._newer:
            self.put(f"{key[:-1]}2", [self._newer])
            delete_both(self, key)
        return super().get(key, offset=offset, size=size)


def test_a_ring_that_a_rotation_takes_away_is_looked_for_again(
    lab: Lab, store: MemoryStore
) -> None:
    key, ring = _ring(store)
    vanishing = VanishingStore(store, encode_ring(replace(ring, number=2)))

    assert read_key_ring(vanishing, NAME).number == 2
    assert key not in content(vanishing)


# --- files ----------------------------------------------------------------------------------------


def test_a_key_file_that_others_may_read_is_refused(lab: Lab, store: MemoryStore) -> None:
    lab.key_files.region_file.chmod(0o640)

    with pytest.raises(KeyFileUnusable, match="chmod 600"):
        opened(store, lab)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("csbs-region-key-1 AAAA\n", "mistake"),
        ("csbs-region-key-1 !!!!\n", "mistake"),
        ("hello\n", "does not begin with"),
        ("csbs-recovery-key-1 AAAA\n", "does not begin with"),
        ("\xff", "does not begin with"),
    ],
)
def test_a_key_file_that_has_no_keys_says_why_and_shows_none(
    lab: Lab, store: MemoryStore, text: str, why: str
) -> None:
    lab.key_files.region_file.write_text(text)

    with pytest.raises(KeyFileUnusable, match=why) as caught:
        opened(store, lab)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# a comment\n\n"], ids=["empty", "comments"])
def test_a_region_file_without_keys_makes_no_repository_and_is_left_alone(
    lab: Lab, text: str
) -> None:
    store = MemoryStore()
    lab.key_files.region_file.write_text(text)

    with pytest.raises(KeyFileUnusable, match="no key in it"):
        opened(store, lab)
    assert "config" not in content(store)
    assert lab.key_files.region_file.read_text() == text


def test_a_key_file_that_is_no_text_is_unusable(lab: Lab, store: MemoryStore) -> None:
    lab.key_files.region_file.write_bytes(b"\xff\xfe")

    with pytest.raises(KeyFileUnusable):
        opened(store, lab)


def test_a_mistyped_key_is_noticed(lab: Lab, store: MemoryStore) -> None:
    text = lab.key_files.region_file.read_text()
    line = text.splitlines()[-1]
    at = line.index(" ") + 7
    typed = line[:at] + ("A" if line[at] != "A" else "B") + line[at + 1 :]
    lab.key_files.region_file.write_text(typed)

    with pytest.raises(KeyFileUnusable, match="mistake"):
        opened(store, lab)


def test_a_recovery_file_that_is_not_there_or_has_two_keys_is_unusable(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    twice = tmp_path / "twice"
    twice.write_text(recovery_file_of(lab, store).read_text() * 2)

    with pytest.raises(KeyFileUnusable, match="No such file"):
        opened(store, lab, files_of(tmp_path, recovery_file=tmp_path / "missing"))
    with pytest.raises(KeyFileUnusable, match="2 keys"):
        opened(store, lab, files_of(tmp_path, recovery_file=twice))


def test_a_folder_that_cannot_be_made_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = KeyFiles(tmp_path / "file" / "region.key", folder=tmp_path, random_bytes=noise_of)

    with pytest.raises(KeyFileUnusable):
        files.newest_region_key()


def test_a_region_file_that_another_process_makes_first_is_used(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    winner: list[bytes] = []

    def slow(size: int) -> bytes:
        winner.append(files_of(tmp_path).newest_region_key())
        return noise(5, size)

    late = KeyFiles(files.region_file, folder=tmp_path, random_bytes=slow)

    assert late.newest_region_key() == winner[0]
    assert [each.name for each in tmp_path.iterdir()] == ["region.key"]
