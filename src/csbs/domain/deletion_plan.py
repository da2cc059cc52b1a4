"""What deleting a backup changes in the billed storage of its server.

Billed storage of a disk over its backups b1..bn is nonzero(b1) + sum of D(b[i-1], b[i]), where
D(a, b) counts the blocks that are non-zero in b and lie at another address in a.  Deleting b
between a and c changes it by D(a, c) - D(a, b) - D(b, c); the maps of the neighbours alone decide
(docs/reference/sizes.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from csbs.domain.backup import Backup, BackupState, created_before
from csbs.domain.ids import BackupId, DiskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """One disk of a backup that is deleted, and the available backups beside it."""

    disk_id: DiskId
    before: Backup | None
    after: Backup


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPlan:
    """What a deletion does to the server's billed storage; `moved` is written to the catalog."""

    backup: Backup
    storage_before_bytes: int
    storage_after_bytes: int
    #: Per backup behind and disk: what it adds to the storage from then on.
    moved: tuple[tuple[BackupId, DiskId, int], ...]

    @property
    def change_bytes(self) -> int:
        """How much the storage changes; negative where it shrinks."""
        return self.storage_after_bytes - self.storage_before_bytes


def neighbours(backup: Backup, of_server: Sequence[Backup]) -> list[Neighbours]:
    """For each disk of the backup that a later available backup has too: who is beside it."""
    counted = sorted(
        (each for each in of_server if _stays(each, backup)),
        key=created_before,
    )
    found = []
    for disk in backup.disks:
        having = [each for each in counted if each.disk(disk.disk_id) is not None]
        older = [each for each in having if created_before(each) < created_before(backup)]
        newer = having[len(older) :]
        if newer:
            before = older[-1] if older else None
            found.append(Neighbours(disk_id=disk.disk_id, before=before, after=newer[0]))
    return found


def neighbours_left(removed: Collection[BackupId], of_server: Sequence[Backup]) -> list[Neighbours]:
    """For each backup that stays and loses a predecessor: who is before it then, disk by disk."""
    counted = sorted((each for each in of_server if counts(each)), key=created_before)
    found = []
    for disk_id in {disk.disk_id for each in counted for disk in each.disks}:
        before: Backup | None = None
        lost = False
        for each in counted:
            if each.disk(disk_id) is None:
                continue
            if each.id in removed:
                lost = True
                continue
            if lost:
                found.append(Neighbours(disk_id=disk_id, before=before, after=each))
            before, lost = each, False
    return found


def most_added_bytes(each: Neighbours, of_server: Sequence[Backup]) -> int:
    """The most that a backup can add once those before it are gone: all that they added."""
    between = [
        other
        for other in of_server
        if counts(other)
        and created_before(other) <= created_before(each.after)
        and (each.before is None or created_before(other) > created_before(each.before))
    ]
    disks = (other.disk(each.disk_id) for other in between)
    return sum((disk.storage_bytes or 0) for disk in disks if disk is not None)


def predecessor(backup: Backup, of_server: Sequence[Backup], disk_id: DiskId) -> Backup | None:
    """The available backup of the disk that will be its newest; None where that is a later one."""
    having = [each for each in of_server if _stays(each, backup) and each.disk(disk_id) is not None]
    newest = max(having, key=created_before, default=None)
    if newest is None or created_before(newest) > created_before(backup):
        return None
    return newest


def plan_deletion(
    backup: Backup,
    of_server: Sequence[Backup],
    moved: Sequence[tuple[BackupId, DiskId, int]],
) -> DeletionPlan:
    """The plan, given what each neighbour behind adds once the backup is gone."""
    counted = [each for each in of_server if counts(each) or each.id == backup.id]
    storage_bytes = sum(each.storage_bytes for each in counted)
    after_bytes = storage_bytes - backup.storage_bytes
    by_id = {each.id: each for each in of_server}
    for backup_id, disk_id, new_bytes in moved:
        disk = by_id[backup_id].disk(disk_id)
        assert disk is not None, "a neighbour has the disk"
        after_bytes += new_bytes - (disk.storage_bytes or 0)
    return DeletionPlan(
        backup=backup,
        storage_before_bytes=storage_bytes,
        storage_after_bytes=after_bytes,
        moved=tuple(moved),
    )


def _stays(each: Backup, deleted: Backup) -> bool:
    return each.id != deleted.id and counts(each)


def counts(backup: Backup) -> bool:
    """Whether it can be restored, and is billed."""
    return backup.state in {BackupState.AVAILABLE, BackupState.RESTORING}
