"""One event of each kind, for tests that need some."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from csbs.domain.events import (
    Event,
    EventKind,
    RpoFacts,
    audit_mismatch,
    collection_late,
    rpo_broken,
    rpo_mended,
    run_untracked,
    task_failed,
    trial,
)
from csbs.domain.ids import PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.rpo import Mended
from csbs.domain.server import ServerRef
from csbs.domain.task import TaskKind, new_task
from csbs.testing.values import START, make_backup

_PROJECT = ProjectId("p")
_SERVER = ServerRef(ServerId("s"), "web")
_BACKUP = make_backup(1, {"vda": 1})
_TASK = replace(
    new_task(TaskId("t1"), TaskKind.BACKUP, _BACKUP, at=START),
    error_kind="unavailable",
    error_code="StoreFull",
    error_message="the store is full",
)
_RPO = RpoFacts(
    policy_id=PolicyId("q"),
    policy_name="nightly",
    promise_s=25 * 3600,
    newest_backup_at=START,
    broken_at=START + timedelta(hours=26),
)

SAMPLES: dict[EventKind, Event] = {
    EventKind.TASK_FAILED: task_failed(_TASK, at=START),
    EventKind.RPO_BROKEN: rpo_broken(_PROJECT, _SERVER, _RPO),
    EventKind.RPO_MENDED: rpo_mended(
        _PROJECT, _SERVER, _RPO, at=START + timedelta(hours=30), why=Mended.BACKED_UP.value
    ),
    EventKind.RUN_UNTRACKED: run_untracked(_BACKUP, _BACKUP.disks, at=START),
    EventKind.AUDIT_MISMATCH: audit_mismatch(_BACKUP, _BACKUP.disks, at=START),
    EventKind.COLLECTION_LATE: collection_late(_PROJECT, since=START, at=START + timedelta(days=8)),
    EventKind.TEST: trial(_PROJECT, "00000000-0000-4000-8000-000000000001", at=START),
}


def failure(project: ProjectId, number: int, *, after: timedelta = timedelta()) -> Event:
    """That task `number` of the project failed, so long after `START`."""
    task = replace(_TASK, id=TaskId(f"t{number}"), project_id=project)
    return task_failed(task, at=START + after)
