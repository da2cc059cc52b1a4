"""Queries about what may expire: many backups, and of each no more than retention looks at."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import backups, servers, tasks
from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.ids import BackupId, PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.retention import StoredBackup
from csbs.domain.task import OPEN_STATES, TaskKind, TaskState

_STATES = {each.value: each for each in BackupState}
_FAILURES = {each.value: each for each in FailedOperation}


def of_policy(
    transaction: Transaction,
    project_id: ProjectId,
    policy_id: PolicyId,
    server_id: ServerId | None = None,
) -> list[StoredBackup]:
    """Backups of the policy (of one server if it is given): server by server, oldest first."""
    held = _held(transaction, project_id)
    table = backups.c
    wanted = [table.project_id == project_id, table.policy_id == policy_id]
    if server_id is not None:
        wanted.append(table.server_id == server_id)
    rows = transaction.execute(
        select(
            table.server_id,
            table.created_at,
            table.id,
            table.state,
            table.auto_trigger,
            table.fail_op,
        )
        .where(*wanted)
        .order_by(table.server_id, table.created_at, table.id)
    )
    return [
        StoredBackup(
            ServerId(server),
            created_at,
            BackupId(backup_id),
            _STATES[state],
            auto_trigger,
            _FAILURES[fail_op] if fail_op else None,
            held.get(backup_id, ""),
        )
        for server, created_at, backup_id, state, auto_trigger, fail_op in rows
    ]


def names(
    transaction: Transaction, project_id: ProjectId, policy_id: PolicyId
) -> dict[BackupId, tuple[str, str]]:
    """What the backups of the policy are called, and their servers."""
    rows = transaction.execute(
        select(backups.c.id, backups.c.name, backups.c.server_name).where(
            backups.c.project_id == project_id, backups.c.policy_id == policy_id
        )
    )
    return {BackupId(row.id): (row.name, row.server_name) for row in rows}


def open_deletions(transaction: Transaction, project_id: ProjectId) -> int:
    """How many deletions of the project wait or run."""
    return int(
        transaction.scalar(
            select(func.count())
            .select_from(tasks)
            .where(
                tasks.c.project_id == project_id,
                tasks.c.kind == TaskKind.DELETION,
                tasks.c.state.in_(OPEN_STATES),
            )
        )
        or 0
    )


def waiting_deletions(
    transaction: Transaction,
    project_id: ProjectId,
    policy_id: PolicyId,
    *,
    kept: Collection[ServerId],
) -> list[TaskId]:
    """Deletions of the policy's backups that have not begun, but for servers that are `kept`."""
    found = transaction.scalars(
        select(tasks.c.id)
        .join(backups, backups.c.id == tasks.c.backup_id)
        .where(
            tasks.c.project_id == project_id,
            tasks.c.kind == TaskKind.DELETION,
            tasks.c.state == TaskState.WAITING,
            backups.c.policy_id == policy_id,
            backups.c.server_id.not_in(kept),
        )
    )
    return [TaskId(each) for each in found]


def _held(transaction: Transaction, project_id: ProjectId) -> dict[str, str]:
    """Backups that somebody waits for, whatever their state."""
    unfinished = transaction.scalars(
        select(servers.c.restoring_backup_id).where(
            servers.c.project_id == project_id, servers.c.restoring_backup_id.is_not(None)
        )
    )
    held = dict.fromkeys((each for each in unfinished if each), "a restore of it is not finished")
    waiting = transaction.scalars(
        select(tasks.c.backup_id).where(
            tasks.c.project_id == project_id,
            tasks.c.kind == TaskKind.RESTORE,
            tasks.c.state.in_(OPEN_STATES),
        )
    )
    return held | dict.fromkeys(waiting, "a restore of it waits")
