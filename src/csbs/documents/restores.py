"""Restores: what one would do, and what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, StrictBool

from csbs.documents.base import Body, Document, Range, RateLimit, Reference, ranges_of
from csbs.domain.restore_plan import Action, DiskRestore, RestorePlan, Way, fingerprint

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.services.restores import RestoreDone


class NewRestore(Body):
    """A restore of a server, in place, from one of its backups."""

    power_on: StrictBool = True
    #: Compare what is known not to differ too.
    compare: StrictBool = False
    #: Go on where the backup is damaged, with zeroes for what is lost.
    allow_holes: StrictBool = False
    limit_bytes_per_s: RateLimit | None = None
    #: What was agreed to: `plan_id` of the plan.  One that has changed since is refused.
    plan_id: Annotated[str, Field(max_length=64)] | None = None


class DiskRestoreDocument(Document):
    """What happens to a disk; without an id it is one that the backup does not have."""

    id: str | None
    target: str
    action: Action
    size_bytes: int
    way: Way | None
    way_reason: str
    note: str
    #: Nothing but its path says that this is the disk.
    by_path_only: bool

    @classmethod
    def of(cls, disk: DiskRestore) -> Self:
        """As planned."""
        return cls(
            id=disk.disk_id,
            target=disk.target,
            action=disk.action,
            size_bytes=disk.size_bytes,
            way=disk.way,
            way_reason=disk.way_reason,
            note=disk.note,
            by_path_only=disk.by_path_only,
        )

    @property
    def is_written(self) -> bool:
        """Whether what is on it is lost."""
        return self.action in {Action.WRITE, Action.CREATE}


class RestorePlanDocument(Document):
    """What a restore does to each disk."""

    plan_id: str
    backup: Reference
    server: Reference
    disks: list[DiskRestoreDocument]

    @classmethod
    def of(cls, plan: RestorePlan) -> Self:
        """As planned."""
        backup = plan.backup
        return cls(
            plan_id=fingerprint(plan),
            backup=Reference(id=backup.id, name=backup.name),
            server=Reference(id=backup.server_id, name=backup.server_name),
            disks=[DiskRestoreDocument.of(disk) for disk in plan.disks],
        )


class DiskRestored(DiskRestoreDocument):
    """What happened to a disk; of one that was not written nothing is counted."""

    written_bytes: int | None = None
    zeroed_bytes: int | None = None
    unchanged_bytes: int | None = None
    #: Where the backup is damaged, and zeroes were written.
    holes: list[Range] = Field(default_factory=list)


class RestoredDocument(Document):
    """What a restore did to each disk."""

    backup: Reference
    server: Reference
    disks: list[DiskRestored]
    #: An interrupted restore came before.
    resumed: bool
    started: bool

    @classmethod
    def of(cls, done: RestoreDone, *, started: bool) -> Self:
        """As it was done."""
        plan = RestorePlanDocument.of(done.plan)
        return cls(
            backup=plan.backup,
            server=plan.server,
            disks=[_restored(done, disk) for disk in plan.disks],
            resumed=done.resumed,
            started=started,
        )

    @property
    def has_holes(self) -> bool:
        """Whether something was lost."""
        return any(disk.holes for disk in self.disks)


def _restored(done: RestoreDone, disk: DiskRestoreDocument) -> DiskRestored:
    result = done.results.get(disk.target) if disk.is_written else None
    if result is None:
        return DiskRestored(**disk.model_dump())
    return DiskRestored(
        **disk.model_dump(),
        written_bytes=result.written_bytes,
        zeroed_bytes=result.zeroed_bytes,
        unchanged_bytes=result.unchanged_bytes,
        holes=ranges_of(done.holes.get(disk.target, ())),
    )
