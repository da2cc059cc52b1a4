"""The repository of a project: what it is, what a collection freed, what a verification found."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StrictBool

from csbs.documents.base import Body, Document, Fault, Range, Reference, ranges_of

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.repository import CollectReport, DamagedObject, RepositoryDescription
    from csbs.services.jobs import Job
    from csbs.services.verification import DamagedBackup, DamagedDisk, VerifyDone


class RepositoryDocument(Document):
    """The repository as it is now."""

    id: str
    place: str
    format: int
    created_at: str
    #: The catalog that may write to it; empty if there is none yet.
    owner: str
    backups: int
    packs: int
    stored_bytes: int

    @classmethod
    def of(cls, found: RepositoryDescription) -> Self:
        """As it is."""
        return cls(
            id=found.repository_id,
            place=found.name,
            format=found.format,
            created_at=found.created_at,
            owner=found.owner,
            backups=found.backups,
            packs=found.packs,
            stored_bytes=found.stored_bytes,
        )


class CollectDocument(Document):
    """What a collection freed, and what is left."""

    backups_purged: int
    packs_deleted: int
    freed_bytes: int
    kept_packs: int
    kept_bytes: int
    dead_bytes: int

    @classmethod
    def of(cls, report: CollectReport) -> Self:
        """As it was."""
        return cls.model_validate(report)


class NewVerification(Body):
    """What is to be verified, beside the structure."""

    #: All bytes of all packs.
    everything: StrictBool = False
    #: All bytes of one of so many shares of the packs: `1/7`.
    share: Annotated[str, Field(max_length=32)] | None = None
    #: Hold whole packs against their own checks, and nothing else.
    without_keys: StrictBool = False


class DamagedObjectDocument(Document):
    """An object of the store that is damaged."""

    key: str
    why: str

    @classmethod
    def of(cls, damaged: DamagedObject) -> Self:
        """As it was found."""
        return cls(key=damaged.key, why=damaged.why)


class DamagedDiskDocument(Document):
    """What a backup has lost of a disk."""

    id: str
    target: str
    lost_bytes: int
    ranges: list[Range]
    ranges_left_off: int

    @classmethod
    def of(cls, disk: DamagedDisk) -> Self:
        """As it was found."""
        return cls(
            id=disk.disk_id,
            target=disk.target,
            lost_bytes=disk.lost_bytes,
            ranges=ranges_of(disk.ranges),
            ranges_left_off=disk.ranges_left_off,
        )


class DamagedBackupDocument(Document):
    """A backup that cannot be restored whole; without disks: not at all, and why."""

    id: str
    name: str
    server: Reference
    why: str
    disks: list[DamagedDiskDocument]

    @classmethod
    def of(cls, damaged: DamagedBackup) -> Self:
        """As it was found."""
        return cls(
            id=damaged.id,
            name=damaged.name,
            server=Reference(id=damaged.server_id, name=damaged.server_name),
            why=damaged.why,
            disks=[DamagedDiskDocument.of(disk) for disk in damaged.disks],
        )


class VerifyDocument(Document):
    """What was verified, and what is damaged."""

    damaged: bool
    backups_checked: int
    map_nodes_read: int
    packs_checked: int
    packs_read: int
    read_bytes: int
    objects: list[DamagedObjectDocument]
    objects_left_off: int
    backups: list[DamagedBackupDocument]
    #: Whether writers know of it from now on.
    kept: bool
    mended: list[str]

    @classmethod
    def of(cls, done: VerifyDone) -> Self:
        """As it was found."""
        report = done.report
        return cls(
            damaged=done.damaged,
            backups_checked=report.backups,
            map_nodes_read=report.nodes,
            packs_checked=report.packs,
            packs_read=report.packs_read,
            read_bytes=report.read_bytes,
            objects=[DamagedObjectDocument.of(each) for each in report.objects],
            objects_left_off=report.objects_left_off,
            backups=[DamagedBackupDocument.of(each) for each in done.backups],
            kept=report.kept,
            mended=list(report.mended),
        )


class JobDocument(Document):
    """Work on a repository that takes longer than a call; a restart of the service ends it."""

    id: str
    kind: Literal["collection", "verification"]
    state: Literal["running", "done", "error", "cancelled"]
    began_at: datetime
    ended_at: datetime | None
    doing: str
    done_bytes: int
    total_bytes: int
    error: Fault | None
    collected: CollectDocument | None
    verified: VerifyDocument | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """As it is."""
        state = job.state  # first: its thread writes it last
        error = job.error
        return cls(
            id=job.id,
            kind=job.kind.value,
            state=state.value,
            began_at=job.began_at,
            ended_at=job.ended_at,
            doing=job.progress.doing,
            done_bytes=job.progress.done_bytes,
            total_bytes=job.progress.total_bytes,
            error=None
            if error is None
            else Fault(kind=error.kind, object=error.object_name, message=str(error)),
            collected=CollectDocument.of(job.collected) if job.collected else None,
            verified=VerifyDocument.of(job.verified) if job.verified else None,
        )

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state == "running"
