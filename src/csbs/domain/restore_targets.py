"""What a caller says of where a restore writes to, held against what it would do.

A backup is restored to the server that it is of, each disk to itself, and all of them that are
there (FAQ 4.2: disks that were removed since are left out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csbs.domain.backup import DiskBackup
from csbs.domain.errors import DiskTooSmall, Invalid, Refused
from csbs.domain.ids import DiskId, ServerId, disk_backup_id
from csbs.domain.restore_plan import DiskRestore, RestorePlan, TargetShared


@dataclass(frozen=True, slots=True)
class DiskTarget:
    """A disk backup, and the disk that it is to be written to."""

    disk_backup: str
    disk_id: DiskId


@dataclass(eq=False)
class RestoreElsewhere(Refused):
    """A backup is restored to its own server only."""

    server: str
    backup: str

    template = "backup {0.backup} is not of server {0.server}: restore it to its own server"


@dataclass(eq=False)
class TargetTwice(Invalid):
    """A disk backup or a disk comes twice."""

    disk: str

    template = "{0.disk} comes twice among the disks of a restore"


@dataclass(eq=False)
class DiskBackupForeign(Refused):
    """The backup has no such part."""

    disk_backup: str
    backup: str

    template = "disk backup {0.disk_backup} is not a part of backup {0.backup}"


@dataclass(eq=False)
class DiskForeign(Refused):
    """The server has no such disk."""

    disk: str
    server: str

    template = "disk {0.disk} is not at server {0.server}"


@dataclass(eq=False)
class DataToSystemDisk(Refused):
    """A data disk was to be written over the disk that the server boots from."""

    disk: str
    server: str

    template = "disk {0.disk} of server {0.server} boots it: a data disk cannot be restored to it"


@dataclass(eq=False)
class DiskSwapped(Refused):
    """A disk backup was to be written to another disk than the one that it is of."""

    disk: str
    server: str

    template = "disk {0.disk} of server {0.server} is another disk than the one in the backup"


@dataclass(eq=False)
class RestorePartial(Refused):
    """A disk that would be restored was not named."""

    backup: str
    disk: str

    template = "backup {0.backup} is restored as a whole: disk {0.disk} is missing"


def require_own_server(plan_server: ServerId, backup_id: str, wanted: ServerId) -> None:
    """Raises `RestoreElsewhere`."""
    if plan_server != wanted:
        raise RestoreElsewhere(wanted, backup_id)


def require_agreed(plan: RestorePlan, targets: Sequence[DiskTarget]) -> None:
    """The plan does just what the targets say, or an error says why not.

    Raises `TargetTwice`, `DiskBackupForeign`, `DiskForeign`, `TargetShared`, `DataToSystemDisk`,
    `DiskTooSmall`, `DiskSwapped`, `RestorePartial`.
    """
    backup = plan.backup
    parts = {disk_backup_id(backup.id, disk.disk_id): disk for disk in backup.disks}
    at_server = {
        each.disk_id: each
        for each in plan.disks
        if each.disk is not None and each.disk_id is not None
    }
    _require_single(targets)
    for target in targets:
        part, found = parts.get(target.disk_backup), at_server.get(target.disk_id)
        if part is None:
            raise DiskBackupForeign(target.disk_backup, backup.id)
        if found is None:
            raise DiskForeign(target.disk_id, backup.server_name)
        if part.disk_id != target.disk_id:
            raise _why_not(part, found, backup.server_name)
    named = {target.disk_id for target in targets}
    for each in plan.written:
        if each.disk_id not in named:
            raise RestorePartial(backup.id, each.target)


def _require_single(targets: Sequence[DiskTarget]) -> None:
    names = [each.disk_backup for each in targets] + [str(each.disk_id) for each in targets]
    for name in names:
        if names.count(name) > 1:
            raise TargetTwice(name)


def _why_not(part: DiskBackup, found: DiskRestore, server: str) -> Refused:
    """Why a disk backup cannot go to another disk: first what would hurt most."""
    disk = found.disk
    assert disk is not None
    if disk.shared:
        return TargetShared(disk.target, server, "other servers may use it at the same time")
    if disk.bootable and not part.bootable:
        return DataToSystemDisk(disk.target, server)
    if disk.size_bytes < part.size_bytes:
        return DiskTooSmall(disk.target, server, disk.size_bytes, part.size_bytes)
    return DiskSwapped(disk.target, server)
