"""Rebuilding a catalog from the manifests of its repository.

What a manifest says goes into the catalog as it did when the backup was made (`facts.py`), so the
backups are listed as before.  What only the catalog knew is gone: tasks, failed backups, and to
which backups tokens had been moved; where tracking is not certain for that, the next backup is a
rescan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from csbs.catalog import Transaction, backups, servers
from csbs.domain.backup import Backup, BackupState, DiskBackup, created_before
from csbs.domain.backup_plan import Token
from csbs.domain.errors import BackupNotFound, Corrupt
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.identity import KnownDisk
from csbs.domain.ids import BackupId, DiskId, ProjectId
from csbs.repository import Image, Manifest, Repository
from csbs.repository.manifest_store import backup_of_key
from csbs.workflows.facts import backup_of, known_disks_of, parents_of, tokens_of
from csbs.workflows.records import Records

log = logging.getLogger(__name__)

#: A row in one of these stands for a manifest; where that is gone, another catalog deleted it.
_COMMITTED = frozenset({BackupState.AVAILABLE, BackupState.RESTORING, BackupState.DELETING})


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedManifest:
    """A manifest that cannot be read: its backup is not listed, and its blocks are kept."""

    key: str
    backup_id: BackupId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What the catalog has now."""

    #: False: the repository belongs to another catalog, and this one may only read it.
    owned: bool
    backup_count: int
    server_count: int
    damaged: tuple[DamagedManifest, ...]
    #: Manifests that a former owner committed too late: they do not count.
    uncounted: tuple[str, ...]
    #: Backups that the catalog had, and the repository has not.
    forgotten: tuple[BackupId, ...]


def rebuild_catalog(records: Records, project_id: ProjectId) -> RebuildReport:
    """Makes the catalog say what the repository says, in one transaction; may be repeated.

    The repository's lock must be held alone.  Damaged manifests are left out, and named.  Failed
    backups and tasks that the catalog has are kept.
    """
    repository = records.repository
    found, damaged = _read(repository, project_id)
    found = _with_storage(repository, found)
    with records.catalog.transaction() as transaction:
        kept = {each.backup.id for each in found}
        forgotten = _forget(transaction, project_id, kept, {each.key for each in damaged})
        _enter(transaction, project_id, found, owned=repository.owned)
    return RebuildReport(
        owned=repository.owned,
        backup_count=len(found),
        server_count=len({each.backup.server_id for each in found}),
        damaged=tuple(damaged),
        uncounted=tuple(repository.uncounted()),
        forgotten=tuple(forgotten),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is needed of a manifest; its facts, which may be large, are let go."""

    backup: Backup
    images: Mapping[str, Image]
    disks: Sequence[KnownDisk]
    parents: Mapping[DiskId, BackupId | None]
    tokens: Mapping[DiskId, Token | None]


def _read(
    repository: Repository, project_id: ProjectId
) -> tuple[list[_Found], list[DamagedManifest]]:
    """All backups, oldest first, and what cannot be read."""
    found, damaged = [], []
    for key, manifest in repository.survey():
        try:
            if isinstance(manifest, Corrupt):
                raise manifest
            found.append(_found(manifest, project_id))
        except Corrupt as error:
            log.warning("a backup is left out", extra={"why": str(error)})
            backup_id = BackupId(backup_of_key(key))
            damaged.append(DamagedManifest(key=key, backup_id=backup_id, why=str(error)))
    return sorted(found, key=lambda each: created_before(each.backup)), damaged


def _found(manifest: Manifest, project_id: ProjectId) -> _Found:
    return _Found(
        backup=replace(backup_of(manifest), project_id=project_id),
        images={image.id: image for image in manifest.images},
        disks=known_disks_of(manifest),
        parents=parents_of(manifest),
        tokens=dict(tokens_of(manifest)),
    )


def _with_storage(repository: Repository, found: Iterable[_Found]) -> list[_Found]:
    """With what each adds to the billed storage, given the backup before it that is still there.

    That is what changed, unless the backup that it was compared with has been deleted.
    """
    newest: dict[DiskId, _Found] = {}
    measured = []
    for each in found:
        disks = [
            _measured(repository, disk, newest.get(disk.disk_id), each)
            for disk in each.backup.disks
        ]
        measured.append(replace(each, backup=replace(each.backup, disks=tuple(disks))))
        newest |= dict.fromkeys((disk.disk_id for disk in disks), each)
    return measured


def _measured(
    repository: Repository, disk: DiskBackup, before: _Found | None, after: _Found
) -> DiskBackup:
    parent_id = before.backup.id if before else None
    if disk.disk_id in after.parents and after.parents[disk.disk_id] == parent_id:
        return disk
    old = before.images[disk.disk_id] if before else None
    try:
        blocks = repository.difference(old, after.images[disk.disk_id])
    except Corrupt as error:
        log.warning("a map is damaged, the size is an estimate", extra={"why": str(error)})
        return disk
    return replace(disk, storage_bytes=blocks * BLOCK_SIZE)


def _forget(
    transaction: Transaction, project_id: ProjectId, kept: set[BackupId], damaged: set[str]
) -> list[BackupId]:
    """Removes rows of backups that are no more, and the tokens of their disks."""
    gone = [
        each
        for each in backups.of_project(transaction, project_id)
        if each.state in _COMMITTED and each.id not in kept and each.manifest_key not in damaged
    ]
    for each in gone:
        servers.set_tokens(transaction, project_id, [(disk.disk_id, None) for disk in each.disks])
        backups.remove(transaction, project_id, each.id)
    return [each.id for each in gone]


def _enter(
    transaction: Transaction, project_id: ProjectId, found: Sequence[_Found], *, owned: bool
) -> None:
    newest: dict[DiskId, Token | None] = {}
    for each in found:
        backup = each.backup
        servers.remember_server(transaction, project_id, backup.server_id, backup.server_name)
        newest |= each.tokens
    for each in reversed(found):  # the newest knows best where a disk is
        for disk in each.disks:
            servers.enter_disk(transaction, project_id, each.backup.server_id, disk)
    for each in found:
        _enter_backup(transaction, each.backup)
    servers.set_tokens(transaction, project_id, newest.items())
    if owned:  # else what others track would be retired
        for server_id in {each.backup.server_id for each in found}:
            servers.owe_retiring(transaction, project_id, server_id, owed=True)


def _enter_backup(transaction: Transaction, backup: Backup) -> None:
    try:
        backups.get(transaction, backup.project_id, backup.id)
    except BackupNotFound:
        backups.add(transaction, backup)
    else:
        backups.save(transaction, backup)
