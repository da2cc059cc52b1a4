"""Queries about the audit trail: events are added and read, never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import audit_events
from csbs.domain.audit import AuditEvent
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import UserId


def add(transaction: Transaction, event: AuditEvent) -> None:
    """Enters an event; its number is given here."""
    transaction.execute(
        insert(audit_events).values(
            at=event.at,
            project_id=event.project_id,
            user_id=event.user_id,
            user_name=event.user_name,
            action=event.action,
            target=event.target,
            remote_address=event.remote_address,
            request_id=event.request_id,
            result=event.result,
            reason=event.reason,
        )
    )


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
