"""Queries of the scheduler: schedules that are due, runs, and the servers of each.

They are of the region: the scheduler serves all projects, and each row names its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from csbs.catalog.catalog import Transaction
from csbs.catalog.policy_tables import policies, schedules
from csbs.catalog.run_tables import policy_runs, server_runs
from csbs.catalog.tables import servers, tasks
from csbs.domain.due_run import RunKind
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.policy_run import PolicyRun, RunState, ServerRun, ServerRunState
from csbs.domain.task import OPEN_STATES, TaskKind

#: Of each schedule: due times that may come again, since a clock was set back, are known still.
_RUNS_KEPT = 1000
#: And of so many its servers, for people who look.
_PARTS_KEPT = 50
_FORGOTTEN_AT_ONCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRef:
    """Which schedule, of which policy."""

    schedule_id: str
    policy_id: PolicyId
    project_id: ProjectId
    #: None: it is not known yet.
    next_run_at: datetime | None


# --- schedules ----------------------------------------------------------------------------------


def due(
    transaction: Transaction, now: datetime, *, after: ScheduleRef | None, limit: int
) -> list[ScheduleRef]:
    """Schedules that are due, the longest waiting first; those behind `after`."""
    place = schedules.c.next_run_at, schedules.c.id
    conditions = [schedules.c.next_run_at <= now]
    if after is not None:
        assert after.next_run_at is not None, "it was due"
        conditions.append(_behind(place, (after.next_run_at, after.schedule_id)))
    return _refs(transaction, conditions, place, limit)


def enabled(transaction: Transaction, *, after: str, limit: int) -> list[ScheduleRef]:
    """Schedules that run by themselves, by their ids; those behind `after`."""
    conditions = [schedules.c.enabled.is_(True), schedules.c.id > after]
    return _refs(transaction, conditions, (schedules.c.id,), limit)


def set_next_run(transaction: Transaction, schedule_id: str, at: datetime | None) -> None:
    """When the schedule is due next; None: never."""
    transaction.execute(
        update(schedules).where(schedules.c.id == schedule_id).values(next_run_at=at)
    )


def next_due_at(transaction: Transaction, *, without: Collection[str]) -> datetime | None:
    """When the first schedule is due, these aside."""
    found: datetime | None = transaction.scalar(
        select(func.min(schedules.c.next_run_at)).where(schedules.c.id.not_in(without))
    )
    return found


# --- runs ---------------------------------------------------------------------------------------


def is_claimed(transaction: Transaction, schedule_id: str, due_at: datetime) -> bool:
    """Whether this due time was answered."""
    found = transaction.execute(
        select(policy_runs.c.id).where(
            policy_runs.c.schedule_id == schedule_id, policy_runs.c.due_at == due_at
        )
    ).first()
    return found is not None


def last_claimed_at(transaction: Transaction, now: datetime) -> datetime | None:
    """When a run was claimed last, of those that were before `now`."""
    found: datetime | None = transaction.scalar(
        select(func.max(policy_runs.c.claimed_at)).where(policy_runs.c.claimed_at <= now)
    )
    return found


def claim(transaction: Transaction, run: PolicyRun, parts: Sequence[ServerRun]) -> None:
    """Enters a run with its servers; one whose former run still waits is merged into that.

    Create-only: a second run with this schedule and due time is an error of the database.
    """
    transaction.execute(insert(policy_runs).values(asdict(run)))
    if not parts:
        return
    still = set(
        transaction.scalars(
            select(server_runs.c.server_id).where(
                server_runs.c.policy_id == run.policy_id,
                server_runs.c.state == ServerRunState.WAITING,
            )
        )
    )
    transaction.execute(
        insert(server_runs),
        [
            asdict(each) | ({"state": ServerRunState.MERGED} if each.server_id in still else {})
            for each in parts
        ],
    )


def of_policy(
    transaction: Transaction, project_id: ProjectId, policy_id: PolicyId, *, limit: int
) -> list[PolicyRun]:
    """The newest runs of the policy, newest first."""
    rows = transaction.execute(
        select(policy_runs)
        .where(policy_runs.c.project_id == project_id, policy_runs.c.policy_id == policy_id)
        .order_by(policy_runs.c.due_at.desc(), policy_runs.c.id)
        .limit(limit)
    )
    return [_run(row) for row in rows]


def parts(transaction: Transaction, project_id: ProjectId, run_id: CheckpointId) -> list[ServerRun]:
    """The servers of the run."""
    rows = transaction.execute(
        select(server_runs)
        .where(server_runs.c.project_id == project_id, server_runs.c.run_id == run_id)
        .order_by(server_runs.c.server_id)
    )
    return [_part(row) for row in rows]


def advance(transaction: Transaction, *, at: datetime) -> None:
    """Runs of which no server waits are dispatched; those of which nothing works have ended."""
    waits = exists().where(
        server_runs.c.run_id == policy_runs.c.id, server_runs.c.state == ServerRunState.WAITING
    )
    works = exists().where(
        server_runs.c.run_id == policy_runs.c.id,
        tasks.c.id == server_runs.c.task_id,
        tasks.c.state.in_(OPEN_STATES),
    )
    transaction.execute(
        update(policy_runs)
        .where(policy_runs.c.state == RunState.CLAIMED, ~waits)
        .values(state=RunState.DISPATCHED)
    )
    transaction.execute(
        update(policy_runs)
        .where(policy_runs.c.state == RunState.DISPATCHED, ~works)
        .values(state=RunState.ENDED, ended_at=at)
    )


def forget_old(transaction: Transaction, schedule_id: str) -> None:
    """Forgets what is long over of the schedule's runs: by their number, since clocks jump.

    For a transaction that claims one: it forgets what one too many makes, and a little more.
    """
    newest_first = (
        select(policy_runs.c.id)
        .where(policy_runs.c.schedule_id == schedule_id)
        .order_by(policy_runs.c.due_at.desc())
        .limit(_FORGOTTEN_AT_ONCE)
    )
    over = list(transaction.scalars(newest_first.offset(_RUNS_KEPT)))
    if over:
        transaction.execute(delete(policy_runs).where(policy_runs.c.id.in_(over)))
    over = list(transaction.scalars(newest_first.offset(_PARTS_KEPT)))
    if over:
        transaction.execute(
            delete(server_runs).where(
                server_runs.c.run_id.in_(over), server_runs.c.state != ServerRunState.WAITING
            )
        )


# --- servers of runs ----------------------------------------------------------------------------


def runs_with_ready(
    transaction: Transaction, now: datetime, *, after: PolicyRun | None, limit: int
) -> list[PolicyRun]:
    """Runs with servers whose turn has come, the oldest first; those behind `after`."""
    place = policy_runs.c.due_at, policy_runs.c.id
    conditions: list[ColumnElement[bool]] = [
        policy_runs.c.state == RunState.CLAIMED,
        exists().where(server_runs.c.run_id == policy_runs.c.id, *_ready(now)),
    ]
    if after is not None:
        conditions.append(_behind(place, (after.due_at, after.id)))
    rows = transaction.execute(select(policy_runs).where(*conditions).order_by(*place).limit(limit))
    return [_run(row) for row in rows]


def ready(transaction: Transaction, run: PolicyRun, now: datetime) -> dict[ServerId, str]:
    """Servers of the run whose turn has come, with their present names.

    One that a backup or restore is entered for is not among them: its turn comes behind that.
    """
    rows = transaction.execute(
        select(server_runs.c.server_id, servers.c.name)
        .join(servers, servers.c.id == server_runs.c.server_id)
        .where(server_runs.c.run_id == run.id, *_ready(now))
        .order_by(server_runs.c.begins_at, server_runs.c.server_id)
    )
    return {ServerId(row.server_id): row.name for row in rows}


def leave_waiting(
    transaction: Transaction, run_id: CheckpointId, parts: Sequence[ServerRun]
) -> None:
    """These parts of the run, which wait, have their states, backups and tasks from now on."""
    if parts:
        transaction.execute(
            update(server_runs)
            .where(
                server_runs.c.run_id == run_id,
                server_runs.c.server_id == bindparam("whose"),
                server_runs.c.state == ServerRunState.WAITING,
            )
            .values(
                state=bindparam("new_state"),
                backup_id=bindparam("new_backup_id"),
                task_id=bindparam("new_task_id"),
            ),
            [
                {
                    "whose": each.server_id,
                    "new_state": each.state,
                    "new_backup_id": each.backup_id,
                    "new_task_id": each.task_id,
                }
                for each in parts
            ],
        )


def begin_at_once(transaction: Transaction, *, behind: datetime, at: datetime) -> None:
    """Servers whose turn comes later than `behind` have it at `at`."""
    transaction.execute(
        update(server_runs)
        .where(server_runs.c.state == ServerRunState.WAITING, server_runs.c.begins_at > behind)
        .values(begins_at=at)
    )


def drop(transaction: Transaction, policy_id: PolicyId, *, kept: Iterable[ServerId]) -> None:
    """What waits of the policy's runs is not begun, but for the servers that are `kept`."""
    transaction.execute(
        update(server_runs)
        .where(
            server_runs.c.policy_id == policy_id,
            server_runs.c.state == ServerRunState.WAITING,
            server_runs.c.server_id.not_in(list(kept)),
        )
        .values(state=ServerRunState.DROPPED)
    )


def begun_and_waiting(
    transaction: Transaction, policy_id: PolicyId, *, kept: Iterable[ServerId]
) -> list[TaskId]:
    """Tasks of the policy's runs that have not begun, but for servers that are `kept`."""
    found = transaction.scalars(
        select(tasks.c.id)
        .join(server_runs, server_runs.c.task_id == tasks.c.id)
        .where(
            server_runs.c.policy_id == policy_id,
            server_runs.c.state == ServerRunState.BEGUN,
            server_runs.c.server_id.not_in(list(kept)),
            tasks.c.state == "waiting",
        )
    )
    return [TaskId(each) for each in found]


def next_begin_at(transaction: Transaction, now: datetime) -> datetime | None:
    """When the first server that waits begins, of those whose turn comes later."""
    found: datetime | None = transaction.scalar(
        select(func.min(server_runs.c.begins_at)).where(
            server_runs.c.state == ServerRunState.WAITING, server_runs.c.begins_at > now
        )
    )
    return found


def is_queued(transaction: Transaction, now: datetime) -> bool:
    """Whether a server waits for the end of what works on it."""
    found = transaction.execute(
        select(server_runs.c.server_id)
        .where(server_runs.c.state == ServerRunState.WAITING, server_runs.c.begins_at <= now)
        .limit(1)
    ).first()
    return found is not None


# --- parts of them ------------------------------------------------------------------------------


def _ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    busy = exists().where(
        tasks.c.server_id == server_runs.c.server_id,
        tasks.c.state.in_(OPEN_STATES),
        tasks.c.kind != TaskKind.DELETION,
    )
    return (
        server_runs.c.state == ServerRunState.WAITING,
        server_runs.c.begins_at <= now,
        ~busy,
    )


def _behind(columns: Sequence[ColumnElement[Any]], values: Sequence[object]) -> ColumnElement[bool]:
    (first, second), (one, two) = columns, values
    return or_(first > one, and_(first == one, second > two))


def _refs(
    transaction: Transaction,
    conditions: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
    limit: int,
) -> list[ScheduleRef]:
    rows = transaction.execute(
        select(
            schedules.c.id, schedules.c.policy_id, schedules.c.next_run_at, policies.c.project_id
        )
        .join(policies, policies.c.id == schedules.c.policy_id)
        .where(*conditions)
        .order_by(*order)
        .limit(limit)
    )
    return [
        ScheduleRef(
            schedule_id=row.id,
            policy_id=PolicyId(row.policy_id),
            project_id=ProjectId(row.project_id),
            next_run_at=row.next_run_at,
        )
        for row in rows
    ]


def _run(row: Row[Any]) -> PolicyRun:
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    return PolicyRun(**(values | {"kind": RunKind(row.kind), "state": RunState(row.state)}))


def _part(row: Row[Any]) -> ServerRun:
    return ServerRun(
        run_id=CheckpointId(row.run_id),
        server_id=ServerId(row.server_id),
        project_id=ProjectId(row.project_id),
        policy_id=PolicyId(row.policy_id),
        begins_at=row.begins_at,
        state=ServerRunState(row.state),
        backup_id=None if row.backup_id is None else BackupId(row.backup_id),
        task_id=None if row.task_id is None else TaskId(row.task_id),
    )
