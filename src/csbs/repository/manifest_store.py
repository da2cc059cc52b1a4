"""Manifests, voids and tombstones in the store: which backups there are.

A manifest's key holds at most one of two objects, for ever: the manifest (the backup is committed)
or a void (it never can be, or it was purged).  Both are put create-only, so exactly one wins.

    manifests/2026-01/00000001-<backup>                     manifest, or void
    manifests/2026-01/00000001-<backup>.tombstone-0001      deleted
    manifests/2026-01/00000001-<backup>.tombstone-0001.end  purged, or undeleted
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from csbs.repository import text_object
from csbs.repository.errors import BackupMissing, CorruptObject, ObjectExists, ObjectNotFound
from csbs.repository.manifest import (
    Manifest,
    ManifestKeys,
    decode_manifest,
    parsed,
    time_text,
)
from csbs.repository.objectstore.base import ObjectStore

_PREFIX = "manifests/"
_KEY = re.compile(r"(manifests/\d{4}-\d{2}/\d{8}-[0-9a-z-]+)(?:\.tombstone-(\d{4})(\.end)?)?")


def go_on() -> None:
    """Nothing stands against it."""


@dataclass(slots=True)
class _Listed:
    """What the listing shows of one key."""

    present: bool = False
    tombstones: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)


class ManifestStore:
    """The manifests of one repository; all methods may be called from several threads."""

    def __init__(
        self, store: ObjectStore, keys: ManifestKeys, counts: Callable[[str], bool]
    ) -> None:
        """`counts` tells the keys of backups from those of late commits of a former owner."""
        self._store = store
        self._keys = keys
        self._counts = counts

    def live(self, check: Callable[[], None] = go_on) -> Iterator[Manifest]:
        """All backups that are neither deleted nor void.  Raises `CorruptObject`.

        `check` is called before each key is looked at; what it raises ends that.
        """
        for _, found in self.survey(check):
            if isinstance(found, CorruptObject):
                raise found
            yield found

    def survey(
        self, check: Callable[[], None] = go_on
    ) -> Iterator[tuple[str, Manifest | CorruptObject]]:
        """Like `live`, by key, with the error in the place of a manifest that is damaged."""
        for key, listed in sorted(self._listing(_PREFIX, check).items()):
            check()
            if not listed.present or not self._counts(key):
                continue
            try:
                manifest = None if self._deleted(key, listed) else self._load(key)
            except CorruptObject as error:
                yield key, error
            else:
                if manifest is not None:
                    yield key, manifest

    def present(self, wanted: Callable[[str], bool]) -> Iterator[str]:
        """Those of the wanted keys that have a manifest, be it deleted, damaged or uncounted.

        Voids are none.  Nothing is read of keys that are not wanted.
        """
        for key, listed in sorted(self._listing(_PREFIX).items()):
            if listed.present and wanted(key) and not self._looks_void(key):
                yield key

    def live_keys(self) -> Iterator[str]:
        """Keys of all backups, for which no key of the repository is needed; damaged ones too."""
        for key, listed in sorted(self._listing(_PREFIX).items()):
            counts = listed.present and self._counts(key) and not self._deleted(key, listed)
            if counts and not self._looks_void(key):
                yield key

    def checked(self) -> Iterator[tuple[str, Manifest | CorruptObject | None]]:
        """Every object there is, by its key: a live manifest, or what is wrong with the object.

        None for what is whole and no live backup, as what a former owner committed too late: what
        that names may be gone.  One whose deletion cannot be read counts as
        live.
        """
        for key, listed in sorted(self._listing(_PREFIX).items()):
            deletion_unread = False
            for number in sorted(listed.tombstones | listed.ends):
                for name, problem in self._deletion_problems(key, number, listed):
                    deletion_unread |= problem is not None
                    yield name, problem
            if not listed.present:
                continue
            try:
                manifest = self._checked_load(key)
                live = self._counts(key) and (deletion_unread or not self._deleted(key, listed))
            except CorruptObject as error:
                yield key, error
            else:
                yield key, manifest if live else None

    def _deletion_problems(
        self, key: str, number: int, listed: _Listed
    ) -> Iterator[tuple[str, CorruptObject | None]]:
        name = _tombstone_key(key, number)
        if number in listed.tombstones:
            try:
                text_object.decode(name, text_object.TOMBSTONE_MAGIC, self._store.get(name))
            except CorruptObject as error:
                yield name, error
            else:
                yield name, None
        if number in listed.ends:
            try:
                self._ended_as(key, number)
            except CorruptObject as error:
                yield f"{name}.end", error
            else:
                yield f"{name}.end", None

    def renew(self, key: str, at: datetime) -> bool:
        """Puts a damaged void, tombstone, or end of one again; False: this is none, or not known.

        An end can only be known where the manifest is void: it was purged.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            return False
        data = self._known(match, at)
        if data is not None:
            self._store.replace(key, data)
        return data is not None

    def _known(self, match: re.Match[str], at: datetime) -> bytes | None:
        """What must be under a key, as far as that is known by others."""
        key, backup_id = match[1], backup_of_key(match[1])
        void = False
        with suppress(ObjectNotFound):
            void = self._looks_void(key)
        if match[3] is not None:
            return _end_purged() if void else None
        if match[2] is not None:
            return _tombstone(backup_id, at)
        if not void:
            return None
        return _void(backup_id, "purged" if self._listing(f"{key}.tombstone-") else "aborted")

    def get(self, key: str) -> Manifest:
        """The backup under `key`.

        Raises `BackupMissing` if it is absent, void or deleted, and `CorruptObject`.
        """
        listed = self._listing(key).get(key, _Listed())
        manifest = None
        if listed.present and self._counts(key) and not self._deleted(key, listed):
            manifest = self._load(key)
        if manifest is None:
            raise BackupMissing(backup_of_key(key))
        return manifest

    def fence(self, key: str, backup_id: str) -> bool:
        """Puts a void, unless something is there; False: a manifest is.  Raises `CorruptObject`.

        What does not count needs no void.
        """
        if not self._counts(key):
            return True
        try:
            self._store.put(key, [_void(backup_id, "aborted")], use_reserve=True)
        except ObjectExists:
            return self._load(key) is None
        return True

    def is_void(self, key: str) -> bool:
        """Whether the object under `key` is a void.  Raises `CorruptObject`."""
        return self._load(key) is None

    def delete(self, key: str, backup_id: str, deleted_at: datetime) -> None:
        """Puts a tombstone, unless there is a standing one or the backup is void.

        A damaged manifest can be deleted too.  Raises `BackupMissing`.
        """
        try:
            void = self._looks_void(key)
        except ObjectNotFound as error:
            raise BackupMissing(backup_id) from error
        if void:
            return
        listed = self._listing(key).get(key, _Listed())
        with suppress(CorruptObject):  # nobody can tell whether it is deleted: now it is
            if self._deleted(key, listed):
                return
        number = max(listed.tombstones, default=0) + 1
        tombstone = _tombstone(backup_id, deleted_at)
        try:
            self._store.put(_tombstone_key(key, number), [tombstone], use_reserve=True)
        except ObjectExists:
            return  # somebody else deleted it in this moment

    def purge(self, check: Callable[[], None] = go_on) -> int:
        """Ends all standing tombstones and voids their manifests; returns how many were voided.

        The end comes first: it decides against an undelete.  A crash in between is mended by the
        next purge, and so is an end by what `check` raises.
        """
        purged = 0
        for key, listed in sorted(self._listing(_PREFIX, check).items()):
            check()
            if not listed.tombstones or not self._counts(key):
                continue
            number = max(listed.tombstones)
            if number not in listed.ends:
                self._end(key, number)
            with suppress(ObjectNotFound):  # lost itself; a late commit is fenced all the same
                if self._looks_void(key):
                    continue
            if self._ended_as(key, number) == "purged":
                self._store.replace(key, _void(backup_of_key(key), "purged"))
                purged += 1
        return purged

    def _looks_void(self, key: str) -> bool:
        head = self._store.get(key, size=text_object.HEAD_SIZE)
        return text_object.magic_of(head) == text_object.VOID_MAGIC

    def _end(self, key: str, number: int) -> None:
        name = f"{_tombstone_key(key, number)}.end"
        try:
            self._store.put(name, [_end_purged()], use_reserve=True)
        except ObjectExists:
            return  # an undelete won

    def _deleted(self, key: str, listed: _Listed) -> bool:
        if not listed.tombstones:
            return False
        number = max(listed.tombstones)
        if number not in listed.ends:
            return True
        try:
            return self._ended_as(key, number) == "purged"
        except CorruptObject:
            if listed.present and self._looks_void(key):
                return True
            raise

    def _ended_as(self, key: str, number: int) -> str:
        name = f"{_tombstone_key(key, number)}.end"
        fields = text_object.decode(name, text_object.TOMBSTONE_END_MAGIC, self._store.get(name))
        end = parsed(name, fields, lambda each: str(each["end"]))
        if end not in ("purged", "undeleted"):
            raise CorruptObject(name, "purged or undeleted", end)
        return end

    def _load(self, key: str) -> Manifest | None:
        """The manifest; None for a void, or where it vanished since it was listed.

        A void that is damaged otherwise than in its magic is one still: there is no backup.
        """
        try:
            data = self._store.get(key)
        except ObjectNotFound:
            return None
        if text_object.magic_of(data) == text_object.VOID_MAGIC:
            return None
        return decode_manifest(key, data, self._keys)

    def _checked_load(self, key: str) -> Manifest | None:
        """Like `_load`, and raises `CorruptObject` for a damaged void too."""
        manifest = self._load(key)
        if manifest is None:
            with suppress(ObjectNotFound):
                text_object.decode(key, text_object.VOID_MAGIC, self._store.get(key))
        return manifest

    def _listing(self, prefix: str, check: Callable[[], None] = go_on) -> dict[str, _Listed]:
        found: dict[str, _Listed] = {}
        for each in self._store.list(prefix):
            check()
            match = _KEY.fullmatch(each.key)
            if match is None:
                continue
            listed = found.setdefault(match[1], _Listed())
            if match[2] is None:
                listed.present = True
            elif match[3] is None:
                listed.tombstones.add(int(match[2]))
            else:
                listed.ends.add(int(match[2]))
        return found


def manifest_key(owner: int, backup_id: str, started_at: datetime) -> str:
    """The key of this backup's manifest, known from its beginning."""
    return f"{_PREFIX}{started_at.astimezone(UTC):%Y-%m}/{owner:08d}-{backup_id}"


def backup_of_key(key: str) -> str:
    """The backup's id, from its manifest's key."""
    return key.rpartition("/")[2].partition("-")[2]


def owner_of_key(key: str) -> int:
    """The number of the owner that the manifest of this key is of; 0 for what is no such key."""
    match = _KEY.fullmatch(key)
    return 0 if match is None else int(key.rpartition("/")[2].partition("-")[0])


def _tombstone_key(key: str, number: int) -> str:
    return f"{key}.tombstone-{number:04d}"


def _tombstone(backup_id: str, deleted_at: datetime) -> bytes:
    fields = {"backup_id": backup_id, "deleted_at": time_text(deleted_at)}
    return text_object.encode(text_object.TOMBSTONE_MAGIC, fields)


def _end_purged() -> bytes:
    return text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "purged"})


def _void(backup_id: str, reason: str) -> bytes:
    fields = {"backup_id": backup_id, "reason": reason}
    return text_object.encode(text_object.VOID_MAGIC, fields)
