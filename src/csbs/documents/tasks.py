"""Tasks: what was executed, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from csbs.documents.base import Document, Fault, Page, Reference
from csbs.domain.task import OPEN_STATES, Task, TaskKind, TaskState

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.catalog.tasks import TaskStep


class TaskFault(Fault):
    """Why a task failed."""

    #: The error's class, such as `StoreFull`.
    code: str


class StepDocument(Document):
    """A step of a task; without an end it is the one that goes on, or in which it stopped."""

    name: str
    began_at: datetime
    ended_at: datetime | None


class TaskDocument(Document):
    """One execution: a backup, a restore, a deletion."""

    id: str
    kind: TaskKind
    state: TaskState
    server: Reference
    backup_id: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    #: How it came to be, where nobody asked for it.
    note: str = ""
    #: What it is at, for people.
    doing: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: int | None
    left_s: int | None
    progress_percent: int
    cancel_requested: bool
    cancellable: bool
    error: TaskFault | None

    @classmethod
    def of(cls, task: Task) -> Self:
        """As it is."""
        return cls(**_fields(task))

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN_STATES


class TaskDetails(TaskDocument):
    """A task with its journal, and what it did."""

    steps: list[StepDocument]
    #: Of a restore a `RestoredDocument`, of a deletion a `DeletionDocument`, once it is done.
    result: dict[str, Any] | None

    @classmethod
    def with_steps(cls, task: Task, steps: Sequence[TaskStep]) -> Self:
        """As it is."""
        return cls(
            **_fields(task),
            steps=[StepDocument.model_validate(each) for each in steps],
            result=None if task.result is None else dict(task.result),
        )


class TaskList(Page):
    """Tasks, oldest first."""

    tasks: list[TaskDocument]


class TaskPage(TaskList, Page):
    """Some of them."""


def _fields(task: Task) -> dict[str, Any]:
    fault = TaskFault(
        kind=task.error_kind,
        code=task.error_code,
        object=task.error_object,
        message=task.error_message,
    )
    return {
        "id": task.id,
        "kind": task.kind,
        "state": task.state,
        "server": Reference(id=task.server_id, name=task.server_name),
        "backup_id": task.backup_id,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "note": task.note,
        "doing": task.doing,
        "done_bytes": task.done_bytes,
        "total_bytes": task.total_bytes,
        "bytes_per_s": task.bytes_per_s,
        "left_s": task.left_s,
        "progress_percent": task.progress_percent,
        "cancel_requested": task.cancel_requested,
        "cancellable": task.is_open and task.cancellable,
        "error": fault if task.error_kind else None,
    }
