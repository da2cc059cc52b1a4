"""What happened in a project that somebody should know of, without asking.

An event is a fact with an id that is made from what it tells: who records the same fact again,
after a crash, records nothing.  Events are written once and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from csbs.domain.backup import Backup, DiskBackup
from csbs.domain.ids import PolicyId, ProjectId
from csbs.domain.server import ServerRef
from csbs.domain.task import Task

#: What the facts of an event make an id of, the same for ever.
_EVENTS = UUID("0c1de6b7-5a4c-4d8e-9b0f-6c1f3f5f7a90")
#: After so long a collection that was not finished is an alarm.
COLLECTION_LATE = timedelta(days=7)


class EventKind(StrEnum):
    """What happened."""

    TASK_FAILED = "task_failed"
    #: The newest backup of a server is older than its policy promises.
    RPO_BROKEN = "rpo_broken"
    #: That has ended.
    RPO_MENDED = "rpo_mended"
    #: Two runs in a row read more than what changed, on a disk whose changes were tracked.
    RUN_UNTRACKED = "run_untracked"
    #: Change tracking missed a write: it was noticed by the sample that each run takes.
    AUDIT_MISMATCH = "audit_mismatch"
    COLLECTION_LATE = "collection_late"
    #: Somebody tries out where events go; kept nowhere.
    TEST = "test"


#: Kinds that are recorded, and that somebody can choose.
RECORDED_KINDS = tuple(kind for kind in EventKind if kind is not EventKind.TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact."""

    #: In the order of the events of a region; 0 before the catalog gave one.
    number: int = 0
    #: The same for the same fact.
    id: str
    kind: EventKind
    project_id: ProjectId
    at: datetime
    #: None where it is about no server.
    server: ServerRef | None = None
    #: Plain JSON; which names there are is up to the kind (docs/reference/events.md).
    facts: Mapping[str, object] = field(default_factory=dict)


def event_id(kind: EventKind, *parts: str) -> str:
    """The id of an event about that."""
    return str(uuid5(_EVENTS, "/".join((kind, *parts))))


def task_failed(task: Task, *, at: datetime) -> Event:
    """A task that has ended with an error."""
    return Event(
        id=event_id(EventKind.TASK_FAILED, task.id),
        kind=EventKind.TASK_FAILED,
        project_id=task.project_id,
        at=at,
        server=ServerRef(task.server_id, task.server_name),
        facts={
            "task_id": task.id,
            "task_kind": task.kind.value,
            "backup_id": task.backup_id,
            "error_kind": task.error_kind,
            "error_code": task.error_code,
            "message": task.error_message,
        },
    )


def run_untracked(backup: Backup, disks: Sequence[DiskBackup], *, at: datetime) -> Event:
    """A backup that is the second in a row without tracking of these disks."""
    return _about_disks(EventKind.RUN_UNTRACKED, backup, disks, at=at)


def audit_mismatch(backup: Backup, disks: Sequence[DiskBackup], *, at: datetime) -> Event:
    """A backup in which a sample of these disks differed from what tracking said."""
    return _about_disks(EventKind.AUDIT_MISMATCH, backup, disks, at=at)


def collection_late(project_id: ProjectId, *, since: datetime, at: datetime) -> Event:
    """A collection that is wanted since then and has not finished; one event for each `since`."""
    return Event(
        id=event_id(EventKind.COLLECTION_LATE, project_id, since.isoformat()),
        kind=EventKind.COLLECTION_LATE,
        project_id=project_id,
        at=at,
        facts={"since": since.isoformat(), "days": (at - since).days},
    )


def trial(project_id: ProjectId, new_id: str, *, at: datetime) -> Event:
    """For trying out where events go."""
    return Event(id=new_id, kind=EventKind.TEST, project_id=project_id, at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoFacts:
    """What is told of a promise that was broken, or is kept again."""

    policy_id: PolicyId
    policy_name: str
    #: How old the newest backup may be.
    promise_s: int
    newest_backup_at: datetime | None
    #: Since when it was broken.
    broken_at: datetime


def rpo_broken(project_id: ProjectId, server: ServerRef, facts: RpoFacts) -> Event:
    """The promise was broken at `facts.broken_at`."""
    return Event(
        id=event_id(EventKind.RPO_BROKEN, server.id, facts.broken_at.isoformat()),
        kind=EventKind.RPO_BROKEN,
        project_id=project_id,
        at=facts.broken_at,
        server=server,
        facts=_rpo(facts),
    )


def rpo_mended(
    project_id: ProjectId, server: ServerRef, facts: RpoFacts, *, at: datetime, why: str
) -> Event:
    """It is not broken any more; `why`: see `csbs.domain.rpo.Mended`."""
    return Event(
        id=event_id(EventKind.RPO_MENDED, server.id, facts.broken_at.isoformat()),
        kind=EventKind.RPO_MENDED,
        project_id=project_id,
        at=at,
        server=server,
        facts=_rpo(facts) | {"why": why},
    )


def _rpo(facts: RpoFacts) -> dict[str, object]:
    newest = facts.newest_backup_at
    return {
        "policy_id": facts.policy_id,
        "policy_name": facts.policy_name,
        "promise_s": facts.promise_s,
        "newest_backup_at": None if newest is None else newest.isoformat(),
        "broken_at": facts.broken_at.isoformat(),
    }


def _about_disks(
    kind: EventKind, backup: Backup, disks: Sequence[DiskBackup], *, at: datetime
) -> Event:
    return Event(
        id=event_id(kind, backup.id),
        kind=kind,
        project_id=backup.project_id,
        at=at,
        server=ServerRef(backup.server_id, backup.server_name),
        facts={
            "backup_id": backup.id,
            "backup_name": backup.name,
            "disks": [
                {"target": disk.target, "mode": disk.mode.value, "reason": disk.reason}
                for disk in disks
            ],
        },
    )
