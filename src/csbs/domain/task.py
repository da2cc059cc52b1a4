"""Tasks: what a user sees of one execution."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from csbs.domain.backup import Backup
from csbs.domain.ids import BackupId, ProjectId, ServerId, TaskId

#: What a task was asked for, so that it can be begun again after a crash: plain JSON.
TaskRequest: TypeAlias = Mapping[str, object]
#: What a task did, as it is shown: plain JSON.
TaskResult: TypeAlias = Mapping[str, object]


class TaskKind(StrEnum):
    """What is executed."""

    BACKUP = "backup"
    RESTORE = "restore"
    DELETION = "deletion"


class TaskState(StrEnum):
    """How far it is."""

    #: Entered, and not begun: its turn comes.
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


#: States of tasks that have not ended.
OPEN_STATES = frozenset({TaskState.WAITING, TaskState.RUNNING})


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
    #: When it was asked for.
    created_at: datetime
    #: None while it waits.
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: What it is at, for people.
    doing: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    #: Of one that runs, as of its last report, where there is evidence.
    bytes_per_s: int | None = None
    left_s: int | None = None
    error_kind: str = ""
    #: The error's class, such as ``StoreFull``.
    error_code: str = ""
    #: What the error is about.
    error_object: str = ""
    error_message: str = ""
    cancel_requested: bool = False
    #: False: it cannot be stopped (any more); a restore has begun to write.
    cancellable: bool = True
    #: For people: how it came to be, where nobody asked for it.
    note: str = ""
    request: TaskRequest = field(default_factory=dict)
    #: Of one that is done, where there is more to say than that.
    result: TaskResult | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN_STATES

    @property
    def durable(self) -> bool:
        """A service carries it out, and goes on with it after a crash."""
        return bool(self.request)

    @property
    def progress_percent(self) -> int:
        """0 to 100; 100 only of one that is done."""
        if self.state is TaskState.DONE:
            return 100
        return min(99, 100 * self.done_bytes // self.total_bytes) if self.total_bytes else 0


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
        created_at=at,
        started_at=at,
    )


def waiting_task(
    task_id: TaskId, kind: TaskKind, backup: Backup, *, at: datetime, request: TaskRequest
) -> Task:
    """A task that is begun when its turn comes."""
    return Task(
        id=task_id,
        project_id=backup.project_id,
        kind=kind,
        state=TaskState.WAITING,
        server_id=backup.server_id,
        server_name=backup.server_name,
        backup_id=backup.id,
        created_at=at,
        request=request,
        cancellable=kind is not TaskKind.DELETION,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is; `total_bytes` may grow while the disks are looked through."""

    doing: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who watches an execution: is told of progress, and may set `cancel`."""

    on_progress: Callable[[Progress], None]
    cancel: threading.Event
