"""Backups and their disks, as the catalog keeps them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.errors import IllegalTransition
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    DiskId,
    PolicyId,
    ProjectId,
    ServerId,
    TrackingName,
)


class BackupState(StrEnum):
    """States of a backup (docs/reference/glossary.md, "States of a backup")."""

    PROTECTING = "protecting"
    AVAILABLE = "available"
    RESTORING = "restoring"
    DELETING = "deleting"
    ERROR = "error"


#: Something is being done to the backup, or a dead process left it so.
UNSETTLED_STATES = (BackupState.PROTECTING, BackupState.RESTORING, BackupState.DELETING)

_ALLOWED: dict[BackupState, frozenset[BackupState]] = {
    BackupState.PROTECTING: frozenset({BackupState.AVAILABLE, BackupState.ERROR}),
    BackupState.AVAILABLE: frozenset({BackupState.RESTORING, BackupState.DELETING}),
    BackupState.RESTORING: frozenset({BackupState.AVAILABLE}),
    # A deletion that failed may be repeated; a service says that it failed.
    BackupState.DELETING: frozenset({BackupState.DELETING, BackupState.ERROR}),
    BackupState.ERROR: frozenset({BackupState.DELETING}),
}


class FailedOperation(StrEnum):
    """What failed for a backup."""

    BACKUP = "backup"
    RESTORE = "restore"
    DELETE = "delete"


class Mode(StrEnum):
    """How a disk was read."""

    #: All that is allocated.
    FULL = "full"
    #: What changed since the parent, as tracked by the hypervisor.
    INCREMENTAL = "incremental"
    #: All that is allocated, compared with the parent: the changes were not known.
    RESCAN = "rescan"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskBackup:
    """One disk's part of a backup; `*_bytes` are None until it was copied."""

    disk_id: DiskId
    target: str
    source: str | None
    format: str
    size_bytes: int
    bootable: bool
    mode: Mode
    #: Why this mode, for people.
    reason: str
    read_bytes: int | None = None
    #: Non-zero blocks whose address differs from the parent's.
    changed_bytes: int | None = None
    nonzero_bytes: int | None = None
    #: What this backup adds to the billed storage of the disk, given its present predecessor.
    storage_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A server's restorable state at one instant."""

    id: BackupId
    project_id: ProjectId
    server_id: ServerId
    server_name: str
    name: str
    state: BackupState
    #: The instant of the disks' view; the time of the request until then.
    created_at: datetime
    #: Empty while the backup waits for its turn: then nothing can have been committed.
    manifest_key: str
    tracking: TrackingName
    disks: tuple[DiskBackup, ...]
    #: The run that made it; one by hand has a run of its own, with the backup's id.
    checkpoint_id: CheckpointId
    description: str = ""
    #: What the server had; 0 where nothing told.
    vcpus: int = 0
    memory_bytes: int = 0
    #: The policy whose run made it.
    policy_id: PolicyId | None = None
    #: The policy's schedule began that run, not a person.
    auto_trigger: bool = False
    finished_at: datetime | None = None
    #: What the backup added to the store.
    stored_bytes: int | None = None
    consistency_asked: Consistency = Consistency.CRASH
    consistency_reached: Consistency | None = None
    #: Why what was asked for was not reached.
    consistency_reason: str = ""
    #: What was seen where the file systems were frozen.
    freeze: FreezeEvidence | None = None
    #: What failed last, if anything did; a backup whose restore failed stays `available`.
    fail_op: FailedOperation | None = None
    #: The error's class, such as ``StoreFull``.
    fail_code: str = ""
    fail_reason: str = ""

    @property
    def restored_bytes(self) -> int:
        """What a restore yields: the size of all disks."""
        return sum(disk.size_bytes for disk in self.disks)

    @property
    def read_bytes(self) -> int:
        """What was read from the disks."""
        return sum(disk.read_bytes or 0 for disk in self.disks)

    @property
    def changed_bytes(self) -> int:
        """What differs from the parent, without zeroes."""
        return sum(disk.changed_bytes or 0 for disk in self.disks)

    @property
    def storage_bytes(self) -> int:
        """Its part of the server's billed storage."""
        return sum(disk.storage_bytes or 0 for disk in self.disks)

    def disk(self, disk_id: DiskId) -> DiskBackup | None:
        """The part of this disk, if the backup has it."""
        return next((disk for disk in self.disks if disk.disk_id == disk_id), None)

    def to(self, state: BackupState) -> Backup:
        """The backup in another state.  Raises `IllegalTransition`."""
        if state not in _ALLOWED[self.state]:
            raise IllegalTransition(f"backup {self.id}", self.state, state)
        return replace(self, state=state)

    def failed(self, operation: FailedOperation, error: BaseException) -> Backup:
        """The backup with what failed and why; its state stays."""
        return replace(
            self,
            fail_op=operation,
            fail_code=type(error).__name__,
            fail_reason=str(error) or type(error).__name__,
        )


def default_name(backup_id: BackupId, taken: Collection[str]) -> str:
    """Name of a manual backup that was not named (FAQ 3.5: ``manualbk_xxxx``).

    It is longer where a short one is `taken`: commands find backups by unique names.
    """
    names = (f"manualbk_{backup_id[:size]}" for size in (4, 8))
    return next((name for name in names if name not in taken), f"manualbk_{backup_id}")


def created_before(backup: Backup) -> tuple[datetime, str]:
    """Sorts backups by age, oldest first; ids break ties."""
    return backup.created_at, backup.id
