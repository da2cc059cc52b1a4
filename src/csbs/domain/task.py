"""Tasks: what a user sees of one execution."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from csbs.domain.backup import Backup
from csbs.domain.ids import BackupId, ProjectId, ServerId, TaskId


class TaskKind(StrEnum):
    """What is executed."""

    BACKUP = "backup"
    RESTORE = "restore"
    DELETION = "deletion"


class TaskState(StrEnum):
    """How far it is."""

    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One execution, with its progress, and its cause where it failed."""

    id: TaskId
    project_id: ProjectId
    kind: TaskKind
    state: TaskState
    server_id: ServerId
    server_name: str
    backup_id: BackupId
    started_at: datetime
    ended_at: datetime | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    #: Of one that runs, as of its last report, where there is evidence.
    bytes_per_s: int | None = None
    left_s: int | None = None
    error_kind: str = ""
    error_message: str = ""
    cancel_requested: bool = False


def new_task(task_id: TaskId, kind: TaskKind, backup: Backup, *, at: datetime) -> Task:
    """A task that begins now."""
    return Task(
        id=task_id,
        project_id=backup.project_id,
        kind=kind,
        state=TaskState.RUNNING,
        server_id=backup.server_id,
        server_name=backup.server_name,
        backup_id=backup.id,
        started_at=at,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is; `total_bytes` may grow while the disks are looked through."""

    doing: str
    done_bytes: int
    total_bytes: int
