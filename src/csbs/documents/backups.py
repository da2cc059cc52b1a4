"""Backups, and what a deletion of one changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StrictBool

from csbs.documents.base import Body, Document, Page, RateLimit, Reference, Text
from csbs.documents.reasons import Written
from csbs.domain.backup import Backup, BackupState, DiskBackup
from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.deletion_plan import DeletionPlan
from csbs.services.causes import cause


class NewBackup(Body):
    """A backup to make, of all disks of a server."""

    server: Annotated[str, Field(min_length=1, max_length=255)]
    name: (
        Annotated[
            str,
            Field(max_length=255),
            Written(r"[\w-]+", "use 1 to 255 letters, digits, _ and -"),
        ]
        | None
    ) = None
    description: Text = ""
    #: Read all that is allocated, whatever is known of changes.
    full: StrictBool = False
    consistency: Consistency = Consistency.FILESYSTEM
    limit_bytes_per_s: RateLimit | None = None


class DiskBackupDocument(Document):
    """A disk's part of a backup."""

    id: str
    target: str
    #: Where it lay on the host: for administrators only.
    source: str | None
    format: str
    bootable: bool
    mode: str
    reason: str
    size_bytes: int
    read_bytes: int | None
    changed_bytes: int | None
    storage_bytes: int | None

    @classmethod
    def of(cls, disk: DiskBackup, *, operator: bool) -> Self:
        """As it is."""
        return cls(
            id=disk.disk_id,
            target=disk.target,
            source=disk.source if operator else None,
            format=disk.format,
            bootable=disk.bootable,
            mode=disk.mode,
            reason=disk.reason,
            size_bytes=disk.size_bytes,
            read_bytes=disk.read_bytes,
            changed_bytes=disk.changed_bytes,
            storage_bytes=disk.storage_bytes,
        )


class FreezeDocument(Document):
    """What was seen of the freeze of the guest's file systems."""

    file_systems: int
    frozen_ms: int
    frozen_in_guest_ms: int | None

    @classmethod
    def of(cls, freeze: FreezeEvidence | None) -> Self | None:
        """As it was."""
        return None if freeze is None else cls.model_validate(freeze)


class ConsistencyDocument(Document):
    """What was asked for, what was reached, and why they differ."""

    asked: Consistency
    reached: Consistency | None
    reason: str
    freeze: FreezeDocument | None


class BackupDocument(Document):
    """A backup, with its disks."""

    id: str
    name: str
    description: str
    status: BackupState
    server: Reference
    checkpoint_id: str
    policy_id: str | None
    #: Whether the policy's schedule began it, and not a person.
    auto_trigger: bool
    created_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    #: What restoring it yields; what its making read, found changed, and added to the store.
    restored_bytes: int
    read_bytes: int
    changed_bytes: int
    stored_bytes: int | None
    storage_bytes: int
    consistency: ConsistencyDocument
    fail_code: str
    fail_reason: str
    disks: list[DiskBackupDocument]

    @classmethod
    def of(cls, backup: Backup, *, operator: bool) -> Self:
        """As it is."""
        duration = backup.finished_at - backup.created_at if backup.finished_at else None
        return cls(
            id=backup.id,
            name=backup.name,
            description=backup.description,
            status=backup.state,
            server=Reference(id=backup.server_id, name=backup.server_name),
            checkpoint_id=backup.checkpoint_id,
            policy_id=backup.policy_id,
            auto_trigger=backup.auto_trigger,
            created_at=backup.created_at,
            finished_at=backup.finished_at,
            duration_s=None if duration is None else round(duration.total_seconds(), 3),
            restored_bytes=backup.restored_bytes,
            read_bytes=backup.read_bytes,
            changed_bytes=backup.changed_bytes,
            stored_bytes=backup.stored_bytes,
            storage_bytes=backup.storage_bytes,
            consistency=ConsistencyDocument(
                asked=backup.consistency_asked,
                reached=backup.consistency_reached,
                reason=backup.consistency_reason,
                freeze=FreezeDocument.of(backup.freeze),
            ),
            fail_code=backup.fail_code,
            fail_reason=backup.fail_reason
            if operator
            else cause(backup.fail_code, backup.fail_reason),
            disks=[DiskBackupDocument.of(disk, operator=operator) for disk in backup.disks],
        )


class SubmittedBackup(BackupDocument):
    """A backup that was entered, and the task that makes it."""

    task_id: str


class BackupList(Page):
    """Backups, oldest first."""

    backups: list[BackupDocument]


class BackupPage(BackupList, Page):
    """Some of them."""


class DeletionDocument(Document):
    """What deleting a backup changes in the storage of its server."""

    backup: Reference
    server: Reference
    storage_before_bytes: int
    storage_after_bytes: int
    change_bytes: int

    @classmethod
    def of(cls, plan: DeletionPlan) -> Self:
        """As planned, or as done."""
        backup = plan.backup
        return cls(
            backup=Reference(id=backup.id, name=backup.name),
            server=Reference(id=backup.server_id, name=backup.server_name),
            storage_before_bytes=plan.storage_before_bytes,
            storage_after_bytes=plan.storage_after_bytes,
            change_bytes=plan.change_bytes,
        )
