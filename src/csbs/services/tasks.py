"""Tasks: what was executed, how it ended, stopping one, and forgetting what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from csbs.catalog import Catalog, Transaction, backups, task_lists, tasks
from csbs.catalog.task_lists import ALL_TASKS, TaskFilter, TaskList
from csbs.catalog.tasks import TaskOutcome, TaskStep
from csbs.domain.backup import BackupState
from csbs.domain.clock import Clock
from csbs.domain.errors import (
    OperationCancelled,
    TaskNotFound,
)
from csbs.domain.ids import BackupId, ProjectId, TaskId
from csbs.domain.listing import Listing, Slice
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.domain.task_errors import TaskNotCancellable, TaskNotDeletable
from csbs.services.requests import state_before
from csbs.workflows.runner import NoRunner, TaskRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskService:
    """What a caller may ask for about tasks."""

    catalog: Catalog
    project_id: ProjectId
    clock: Clock
    #: Is told of cancels.
    runner: TaskRunner = field(default_factory=NoRunner)

    def page(
        self, wanted: TaskFilter, listing: Listing, listed: TaskList = ALL_TASKS
    ) -> Slice[Task]:
        """A page of those tasks that are meant.  Raises `MarkerUnknown`."""
        with self.catalog.reading() as transaction:
            found = task_lists.page(transaction, self.project_id, wanted, listing, listed)
            return found.map(partial(tasks.by_ids, transaction, self.project_id))

    def list_all(self) -> list[Task]:
        """All tasks, oldest first."""
        with self.catalog.reading() as transaction:
            return tasks.of_project(transaction, self.project_id)

    def get(self, task_id: TaskId) -> Task:
        """The task with just this id.  Raises `TaskNotFound`."""
        with self.catalog.transaction() as transaction:
            return tasks.get(transaction, self.project_id, task_id)

    def of_backup(self, backup_id: BackupId) -> Task | None:
        """The task that was last asked for about this backup."""
        with self.catalog.transaction() as transaction:
            return tasks.newest_of_backup(transaction, self.project_id, backup_id)

    def find(self, wanted: str) -> tuple[Task, Sequence[TaskStep]]:
        """The task with this id or unique prefix, and its journal.  Raises `TaskNotFound`."""
        with self.catalog.reading() as transaction:
            found = tasks.named(transaction, self.project_id, wanted)
            if len(found) != 1:
                raise TaskNotFound(wanted)
            return found[0], tasks.steps(transaction, self.project_id, found[0].id)

    def cancel(self, task_id: TaskId) -> Task:
        """Asks for the task's stop, and returns it; a runner stops it within 5 s.

        Raises `TaskNotFound`, and `TaskNotCancellable` for a deletion, for a restore that has begun
        to write, and for what has ended.
        """
        with self.catalog.transaction() as transaction:
            task = tasks.get(transaction, self.project_id, task_id)
            _require_cancellable(task)
            tasks.request_cancel(transaction, self.project_id, task_id)
            if task.state is TaskState.WAITING:
                end_waiting(transaction, task, at=self.clock())
        self.runner.cancel(task)
        return self.get(task_id)

    def delete(self, task_id: TaskId) -> None:
        """Forgets a task that failed.  Raises `TaskNotFound`, `TaskNotDeletable`."""
        with self.catalog.transaction() as transaction:
            task = tasks.get(transaction, self.project_id, task_id)
            if task.state is not TaskState.ERROR:
                raise TaskNotDeletable(task_id, task.state)
            tasks.remove(transaction, self.project_id, [task_id])

    def delete_failed(self) -> int:
        """Forgets all tasks that failed; returns how many."""
        with self.catalog.transaction() as transaction:
            return tasks.remove_failed(transaction, self.project_id)


def end_waiting(transaction: Transaction, task: Task, *, at: datetime) -> None:
    """Cancels a task of which nothing was begun: there is no need to wait for its turn."""
    error = OperationCancelled(f"the {task.kind}")
    outcome = TaskOutcome(
        state=TaskState.CANCELLED,
        ended_at=at,
        error_kind=error.kind,
        error_code=type(error).__name__,
        error_object=error.object_name,
        error_message=str(error),
    )
    tasks.end(transaction, task.project_id, task.id, outcome)
    if task.kind is TaskKind.BACKUP:
        backups.remove(transaction, task.project_id, task.backup_id)
    elif task.kind is TaskKind.DELETION:
        before = state_before(task.request)
        backups.take_back_deletion(transaction, task.project_id, task.backup_id, before)
    else:
        backups.set_state(transaction, task.project_id, task.backup_id, BackupState.AVAILABLE)


def _require_cancellable(task: Task) -> None:
    if not task.is_open:
        raise TaskNotCancellable(task.id, f"it has ended ({task.state})")
    if task.kind is TaskKind.DELETION:
        raise TaskNotCancellable(task.id, "a deletion is not stopped half-way")
    if not task.cancellable:
        why = "it has begun to write: the disks are half old and half new until it has ended"
        raise TaskNotCancellable(task.id, why)
