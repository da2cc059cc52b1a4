"""Forgetting what is old: so many rows at once, so that nobody waits long for the transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Table, delete, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import audit_events, tokens, used_signatures
from csbs.catalog.tables import backups, tasks
from csbs.domain.backup import UNSETTLED_STATES
from csbs.domain.ids import ProjectId
from csbs.domain.task import OPEN_STATES, TaskState


def ended_tasks(
    transaction: Transaction,
    project_id: ProjectId,
    states: Collection[TaskState],
    before: datetime,
    rows_max: int,
) -> int:
    """Forgets tasks that ended so before then, with their journals; returns how many.

    One stays whose backup is still being made, restored or deleted: what is left of it is settled
    by what its tasks say.
    """
    assert not OPEN_STATES & set(states)
    unsettled = select(backups.c.id).where(
        backups.c.project_id == project_id, backups.c.state.in_(UNSETTLED_STATES)
    )
    old = (
        tasks.c.project_id == project_id,
        tasks.c.state.in_(sorted(states)),
        tasks.c.ended_at < before,
        tasks.c.backup_id.not_in(unsettled),
    )
    return _forget(transaction, tasks, tasks.c.id, old, rows_max)


def audit_trail(transaction: Transaction, before: datetime, rows_max: int) -> int:
    """Forgets events of all projects from before then; returns how many."""
    old = (audit_events.c.at < before,)
    return _forget(transaction, audit_events, audit_events.c.id, old, rows_max)


def expired_tokens(transaction: Transaction, now: datetime, rows_max: int) -> int:
    """Forgets tokens that are good no longer; returns how many."""
    old = (tokens.c.expires_at <= now,)
    return _forget(transaction, tokens, tokens.c.digest, old, rows_max)


def expired_signatures(transaction: Transaction, now: datetime, rows_max: int) -> int:
    """Forgets signatures whose dates are too old in any case; returns how many."""
    old = (used_signatures.c.expires_at <= now,)
    return _forget(transaction, used_signatures, used_signatures.c.digest, old, rows_max)


def _forget(
    transaction: Transaction,
    table: Table,
    key: ColumnElement[object],
    old: Collection[ColumnElement[bool]],
    rows_max: int,
) -> int:
    some = select(key).where(*old).limit(rows_max)
    return transaction.execute(delete(table).where(key.in_(some))).rowcount
