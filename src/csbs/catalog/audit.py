"""Queries about the audit trail: events are added and read, never changed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import audit_events
from csbs.domain.audit import AuditEvent
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import UserId
from csbs.domain.texts import made_usable


def add(transaction: Transaction, event: AuditEvent) -> None:
    """Enters an event; its number is given here.

    Whatever somebody sent as his name or in a path: what he tried is kept.
    """
    values = asdict(event)
    del values["number"]
    kept = {
        name: made_usable(value) if isinstance(value, str) else value
        for name, value in values.items()
    }
    transaction.execute(insert(audit_events).values(kept))


def after(
    transaction: Transaction,
    project_id: ProjectId | None,
    *,
    number: int,
    limit: int,
    since: datetime | None = None,
) -> list[AuditEvent]:
    """The next `limit` events after this number, oldest first.

    Without a project those of the whole region.
    """
    query = select(audit_events).where(audit_events.c.id > number)
    if project_id is not None:
        query = query.where(audit_events.c.project_id == project_id)
    if since is not None:
        query = query.where(audit_events.c.at >= since)
    rows = transaction.execute(query.order_by(audit_events.c.id).limit(limit)).all()
    return [_event(row) for row in rows]


def _event(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        number=row.id,
        at=row.at,
        project_id=None if row.project_id is None else ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        user_name=row.user_name,
        action=row.action,
        target=row.target,
        remote_address=row.remote_address,
        request_id=row.request_id,
        result=row.result,
        reason=row.reason,
    )
