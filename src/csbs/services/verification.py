"""Verification of the project's repository, with damage named as people know it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from csbs.catalog import Catalog, backups
from csbs.domain.backup import Backup, BackupState
from csbs.domain.clock import Clock
from csbs.domain.errors import Corrupt
from csbs.domain.ids import BackupId, DiskId, ProjectId
from csbs.repository import (
    EVERYTHING,
    DamagedImage,
    DamagedObject,
    Repository,
    Share,
    VerifyReport,
    VerifyWatch,
    verify_packs,
)
from csbs.repository.errors import BackupMissing
from csbs.services.repositories import RepositoryAccess
from csbs.workflows.facts import FactsUnreadable, backup_of
from csbs.workflows.run import Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What is to be verified."""

    #: Packs of which all bytes are read, beside the structure; None: of none.
    share: Share | None = None
    #: Without: whole packs only (of the share, or all), by their own checks.
    with_keys: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedDisk:
    """What a backup has lost of one disk; see `DamagedImage`."""

    disk_id: DiskId
    target: str
    lost_bytes: int
    ranges: tuple[tuple[int, int], ...]
    ranges_left_off: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedBackup:
    """A backup that cannot be restored whole; without disks: not at all, and `why`."""

    id: BackupId
    name: str
    server_id: str
    server_name: str
    why: str = ""
    disks: tuple[DamagedDisk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyDone:
    """What was found."""

    report: VerifyReport
    backups: tuple[DamagedBackup, ...] = ()

    @property
    def damaged(self) -> bool:
        """Whether anything is."""
        return bool(self.report.damaged or self.backups)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyService:
    """What a caller may ask for about verification."""

    catalog: Catalog
    project_id: ProjectId
    repositories: RepositoryAccess
    clock: Clock

    def verify(self, request: VerifyRequest, watcher: Watcher) -> VerifyDone:
        """Verifies the repository beside backups, restores and deletions.

        Damage is no error: it is what is returned.  Raises `RepositoryLocked` while a collection
        runs, `OperationCancelled`, and `Corrupt` where config or owner cannot be read, without
        which there is nothing to go by.
        """
        cancelled = watcher.cancel.is_set
        watch = VerifyWatch(progress=watcher.on_progress, cancelled=cancelled)
        if not request.with_keys:
            with self.repositories.shared_store("verification", cancelled=cancelled) as store:
                return VerifyDone(report=verify_packs(store, request.share or EVERYTHING, watch))
        with self.repositories.shared("verification", cancelled=cancelled) as repository:
            report = repository.verify(request.share, found_at=self.clock(), watch=watch)
            lost = list(self._lost(repository, report.keys))
            listed = {each.key for each in report.objects}
            gone = [DamagedObject(each.manifest_key, why) for each, why in lost]
            report = replace(
                report, objects=report.objects + tuple(o for o in gone if o.key not in listed)
            )
        return VerifyDone(
            report=report, backups=(*self._unreadable(lost), *self._damaged(report.images))
        )

    def _lost(self, repository: Repository, keys: AbstractSet[str]) -> Iterator[tuple[Backup, str]]:
        """Backups that the catalog calls restorable, and whose manifest is not there or no more.

        The catalog is read after the store, of which `keys` were read: a backup that was committed
        meanwhile is asked for once more, one that was deleted meanwhile is not among them.
        """
        with self.catalog.transaction() as transaction:
            rows = backups.of_project(transaction, self.project_id)
        restorable = {BackupState.AVAILABLE, BackupState.RESTORING}
        for backup in rows:
            if backup.state not in restorable or backup.manifest_key in keys:
                continue
            try:
                repository.manifest(backup.manifest_key)
            except (Corrupt, BackupMissing) as error:
                yield backup, str(error)

    def _unreadable(self, lost: Sequence[tuple[Backup, str]]) -> Iterator[DamagedBackup]:
        for backup, why in lost:
            yield DamagedBackup(
                id=backup.id,
                name=backup.name,
                server_id=backup.server_id,
                server_name=backup.server_name,
                why=why,
            )

    def _damaged(self, images: Sequence[DamagedImage]) -> Iterator[DamagedBackup]:
        by_key: dict[str, list[DamagedImage]] = {}
        for each in images:
            by_key.setdefault(each.manifest.key, []).append(each)
        for parts in by_key.values():
            try:
                backup = backup_of(parts[0].manifest)
            except FactsUnreadable:  # of another program: it has its id
                backup = None
            yield DamagedBackup(
                id=BackupId(parts[0].manifest.backup_id),
                name=backup.name if backup else "",
                server_id=backup.server_id if backup else "",
                server_name=backup.server_name if backup else "",
                disks=tuple(_damaged_disk(each, backup) for each in parts),
            )


def _damaged_disk(damaged: DamagedImage, backup: Backup | None) -> DamagedDisk:
    disk_id = DiskId(damaged.image.id)
    disk = backup.disk(disk_id) if backup else None
    return DamagedDisk(
        disk_id=disk_id,
        target=disk.target if disk else "",
        lost_bytes=damaged.lost_bytes,
        ranges=damaged.ranges,
        ranges_left_off=damaged.ranges_left_off,
    )
