"""Queries about events: they are added and read, never changed, and forgotten after a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select

from csbs.catalog import notifications
from csbs.catalog.catalog import Transaction
from csbs.catalog.event_tables import events
from csbs.domain.events import Event, EventKind
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.server import ServerRef

#: SQLite takes no more values in one statement than some thousands.
_BATCH = 500


def add(transaction: Transaction, found: Sequence[Event]) -> int:
    """Enters events, and sends them on their way to who wants them; returns how many are new.

    One whose id is there already changes nothing.
    """
    new = 0
    for start in range(0, len(found), _BATCH):
        batch = {event.id: event for event in found[start : start + _BATCH]}
        known = set(transaction.scalars(select(events.c.id).where(events.c.id.in_(batch))))
        fresh = [event for event in batch.values() if event.id not in known]
        if not fresh:
            continue
        transaction.execute(insert(events), [_values(event) for event in fresh])
        ids = {event.id for event in fresh}
        rows = transaction.execute(select(events).where(events.c.id.in_(ids))).all()
        notifications.enqueue(transaction, [_event(row) for row in rows])
        new += len(fresh)
    return new


def page(
    transaction: Transaction,
    project_id: ProjectId,
    *,
    after: int = 0,
    limit: int,
    kinds: Collection[EventKind] = (),
) -> list[Event]:
    """The next `limit` events after this number, oldest first; of these kinds, if any are given."""
    query = _of_kinds(project_id, kinds).where(events.c.number > after)
    rows = transaction.execute(query.order_by(events.c.number).limit(limit)).all()
    return [_event(row) for row in rows]


def newest(
    transaction: Transaction,
    project_id: ProjectId,
    *,
    limit: int,
    kinds: Collection[EventKind] = (),
) -> list[Event]:
    """The last `limit` events, oldest first; of these kinds, if any are given."""
    query = _of_kinds(project_id, kinds)
    rows = transaction.execute(query.order_by(events.c.number.desc()).limit(limit)).all()
    return [_event(row) for row in reversed(rows)]


def by_numbers(
    transaction: Transaction, project_id: ProjectId, numbers: Collection[int]
) -> list[Event]:
    """These events, oldest first."""
    rows = transaction.execute(
        select(events)
        .where(events.c.project_id == project_id, events.c.number.in_(numbers))
        .order_by(events.c.number)
    ).all()
    return [_event(row) for row in rows]


def forget(transaction: Transaction, *, before: datetime, limit: int) -> int:
    """Forgets up to `limit` events of before then, in all projects; returns how many went."""
    old = select(events.c.number).where(events.c.at < before).order_by(events.c.number).limit(limit)
    result = transaction.execute(delete(events).where(events.c.number.in_(old)))
    return result.rowcount


def _of_kinds(project_id: ProjectId, kinds: Collection[EventKind]) -> Select[Any]:
    query = select(events).where(events.c.project_id == project_id)
    return query.where(events.c.kind.in_(kinds)) if kinds else query


def _values(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "project_id": event.project_id,
        "kind": event.kind,
        "at": event.at,
        "server_id": None if event.server is None else event.server.id,
        "server_name": None if event.server is None else event.server.name,
        "facts": dict(event.facts),
    }


def _event(row: Row[Any]) -> Event:
    has_server = row.server_id is not None
    return Event(
        number=row.number,
        id=row.id,
        kind=EventKind(row.kind),
        project_id=ProjectId(row.project_id),
        at=row.at,
        server=ServerRef(ServerId(row.server_id), row.server_name) if has_server else None,
        facts=row.facts,
    )
