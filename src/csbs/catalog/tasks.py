"""Queries about tasks and their journals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from csbs.catalog import events, leases
from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import in_order
from csbs.catalog.lookup import is_named
from csbs.catalog.tables import task_steps, tasks
from csbs.domain.errors import TaskNotFound
from csbs.domain.events import task_failed
from csbs.domain.ids import BackupId, ProjectId, ServerId, TaskId
from csbs.domain.task import OPEN_STATES, Task, TaskKind, TaskRequest, TaskResult, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStep:
    """One entry of a task's journal; `ended_at` is None for the step in which it stopped."""

    name: str
    began_at: datetime
    ended_at: datetime | None


def add(transaction: Transaction, task: Task) -> None:
    """Enters a new task; one that has failed already is an event."""
    add_all(transaction, [task])


def add_all(transaction: Transaction, new: Sequence[Task]) -> None:
    """Enters new tasks; those that have failed already are events."""
    if new:
        transaction.execute(insert(tasks), [asdict(each) for each in new])
        _tell_failures(transaction, new)


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Task]:
    """All tasks of the project, oldest first."""
    return _load(transaction, tasks.c.project_id == project_id)


def by_ids(transaction: Transaction, project_id: ProjectId, ids: Sequence[TaskId]) -> list[Task]:
    """Those of these tasks that are there, in this order."""
    found = _load(transaction, tasks.c.project_id == project_id, tasks.c.id.in_(ids))
    return in_order(found, ids)


def named(transaction: Transaction, project_id: ProjectId, wanted: str) -> list[Task]:
    """Tasks that `wanted` may mean: by id, or by a prefix of it that is long enough."""
    return _load(transaction, tasks.c.project_id == project_id, is_named(tasks.c.id, wanted))


def running(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> list[Task]:
    """Tasks of the server that have not ended, as far as the catalog knows."""
    return _load(
        transaction,
        tasks.c.project_id == project_id,
        tasks.c.server_id == server_id,
        tasks.c.state == TaskState.RUNNING,
    )


def get(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> Task:
    """The task.  Raises `TaskNotFound`."""
    found = _load(transaction, tasks.c.project_id == project_id, tasks.c.id == task_id)
    if not found:
        raise TaskNotFound(task_id)
    return found[0]


def open_of_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> list[Task]:
    """Tasks of the server that wait or run, oldest first."""
    return _load(
        transaction,
        tasks.c.project_id == project_id,
        tasks.c.server_id == server_id,
        tasks.c.state.in_(OPEN_STATES),
    )


def open_of_project(transaction: Transaction, project_id: ProjectId) -> list[Task]:
    """Tasks of the project that wait or run, oldest first."""
    return _load(transaction, tasks.c.project_id == project_id, tasks.c.state.in_(OPEN_STATES))


def newest_of_backup(
    transaction: Transaction, project_id: ProjectId, backup_id: BackupId
) -> Task | None:
    """The task that was last asked for about this backup."""
    found = _load(transaction, tasks.c.project_id == project_id, tasks.c.backup_id == backup_id)
    return found[-1] if found else None


def newest_of_backups(
    transaction: Transaction, project_id: ProjectId, backup_ids: Collection[BackupId]
) -> dict[BackupId, Task]:
    """For each of these backups the task that was last asked for about it."""
    found = _load(transaction, tasks.c.project_id == project_id, tasks.c.backup_id.in_(backup_ids))
    return {task.backup_id: task for task in found}


def begin(
    transaction: Transaction, project_id: ProjectId, task_id: TaskId, *, at: datetime
) -> Task | None:
    """Records that the task runs from now on, and returns it; None: it does not wait (any more)."""
    row = transaction.execute(
        update(tasks)
        .where(
            tasks.c.project_id == project_id,
            tasks.c.id == task_id,
            tasks.c.state == TaskState.WAITING,
        )
        .values(state=TaskState.RUNNING, started_at=at)
        .returning(tasks)
    ).one_or_none()
    return None if row is None else _task(row)


def set_request(
    transaction: Transaction, project_id: ProjectId, task_id: TaskId, request: TaskRequest
) -> None:
    """Keeps what the task was asked for, with what it has to remember over a crash."""
    transaction.execute(
        update(tasks)
        .where(tasks.c.project_id == project_id, tasks.c.id == task_id)
        .values(request=dict(request))
    )


def set_result(
    transaction: Transaction, project_id: ProjectId, task_id: TaskId, result: TaskResult
) -> None:
    """Keeps what the task did."""
    transaction.execute(
        update(tasks)
        .where(tasks.c.project_id == project_id, tasks.c.id == task_id)
        .values(result=dict(result))
    )


def remove(transaction: Transaction, project_id: ProjectId, ids: Collection[TaskId]) -> None:
    """Forgets these tasks with their journals."""
    transaction.execute(delete(tasks).where(tasks.c.project_id == project_id, tasks.c.id.in_(ids)))


def remove_failed(transaction: Transaction, project_id: ProjectId) -> int:
    """Forgets all tasks that failed, with their journals; returns how many."""
    result = transaction.execute(
        delete(tasks).where(tasks.c.project_id == project_id, tasks.c.state == TaskState.ERROR)
    )
    return result.rowcount


def end(
    transaction: Transaction,
    project_id: ProjectId,
    task_id: TaskId,
    outcome: TaskOutcome,
    progress: TaskProgress | None = None,
) -> None:
    """Records how the task ended, and ends its leases; one that ended already stays as it is.

    `progress` is how far it came, if that was not reported.  A failure is an event, in the same
    transaction.
    """
    reported = {} if progress is None else asdict(progress)
    leases.end_of_task(transaction, project_id, task_id)
    result = transaction.execute(
        update(tasks)
        .where(
            tasks.c.project_id == project_id,
            tasks.c.id == task_id,
            tasks.c.state.in_(OPEN_STATES),
        )
        .values(reported | asdict(outcome) | {"bytes_per_s": None, "left_s": None, "doing": ""})
    )
    if result.rowcount == 1 and outcome.state is TaskState.ERROR:
        _tell_failures(transaction, [get(transaction, project_id, task_id)])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """How a task ended."""

    state: TaskState
    ended_at: datetime
    error_kind: str = ""
    error_code: str = ""
    error_object: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """How far a task is, and how it goes on where there is evidence."""

    done_bytes: int
    total_bytes: int
    doing: str = ""
    bytes_per_s: int | None = None
    left_s: int | None = None


def report(
    transaction: Transaction, project_id: ProjectId, task_id: TaskId, progress: TaskProgress
) -> bool:
    """Records the progress; returns whether somebody asked for a cancel."""
    own = (tasks.c.project_id == project_id, tasks.c.id == task_id)
    saved = update(tasks).where(*own).values(asdict(progress))
    return bool(transaction.scalar(saved.returning(tasks.c.cancel_requested)))


def is_cancel_requested(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> bool:
    """Whether somebody asked the runner of the task to stop it."""
    own = (tasks.c.project_id == project_id, tasks.c.id == task_id)
    return bool(transaction.scalar(select(tasks.c.cancel_requested).where(*own)))


def pass_no_return(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> bool:
    """From here on the task cannot be cancelled; False: somebody asked for it already."""
    result = transaction.execute(
        update(tasks)
        .where(
            tasks.c.project_id == project_id,
            tasks.c.id == task_id,
            tasks.c.cancel_requested.is_(False),
        )
        .values(cancellable=False)
    )
    return result.rowcount == 1


def take_back_no_return(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> None:
    """What could not be undone was not done after all."""
    transaction.execute(
        update(tasks)
        .where(tasks.c.project_id == project_id, tasks.c.id == task_id)
        .values(cancellable=True)
    )


def request_cancel(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> None:
    """Asks the runner of the task to stop it."""
    transaction.execute(
        update(tasks)
        .where(tasks.c.project_id == project_id, tasks.c.id == task_id)
        .values(cancel_requested=True)
    )


def begin_step(transaction: Transaction, task_id: TaskId, name: str, *, at: datetime) -> int:
    """Enters a step into the journal of a task; returns its position there."""
    before = select(func.count()).where(task_steps.c.task_id == task_id).scalar_subquery()
    entered = insert(task_steps).values(task_id=task_id, position=before, name=name, began_at=at)
    return int(transaction.execute(entered.returning(task_steps.c.position)).scalar_one())


def end_step(transaction: Transaction, task_id: TaskId, position: int, *, at: datetime) -> None:
    """Records the end of a step."""
    transaction.execute(
        update(task_steps)
        .where(task_steps.c.task_id == task_id, task_steps.c.position == position)
        .values(ended_at=at)
    )


def steps(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> list[TaskStep]:
    """The journal of a task, in order."""
    rows = transaction.execute(
        select(task_steps)
        .join(tasks)
        .where(tasks.c.project_id == project_id, tasks.c.id == task_id)
        .order_by(task_steps.c.position)
    ).all()
    return [TaskStep(name=row.name, began_at=row.began_at, ended_at=row.ended_at) for row in rows]


def _tell_failures(transaction: Transaction, found: Sequence[Task]) -> None:
    failed = [each for each in found if each.state is TaskState.ERROR]
    events.add(
        transaction, [task_failed(each, at=each.ended_at or each.created_at) for each in failed]
    )


def _load(transaction: Transaction, *conditions: Any) -> list[Task]:
    rows = transaction.execute(
        select(tasks).where(*conditions).order_by(tasks.c.created_at, tasks.c.id)
    ).all()
    return [_task(row) for row in rows]


def _task(row: Row[Any]) -> Task:
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    return Task(**(values | {"kind": TaskKind(row.kind), "state": TaskState(row.state)}))
