"""Queries about where events are sent, and how far each is on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, exists, func, insert, or_, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.event_tables import deliveries, notifications
from csbs.domain.events import Event, EventKind
from csbs.domain.ids import ProjectId
from csbs.domain.notification import (
    Backlog,
    Channel,
    DeliveryEnd,
    DeliveryState,
    Language,
    NotificationNameTaken,
    NotificationNotFound,
    Target,
)

_WAITS = exists().where(
    deliveries.c.notification_id == notifications.c.id,
    deliveries.c.state == DeliveryState.WAITING,
)


def add(transaction: Transaction, target: Target, sealed_secret: bytes | None) -> None:
    """Enters a new target.  Raises `NotificationNameTaken`."""
    same_name = notifications.c.name == target.name
    if _load(transaction, notifications.c.project_id == target.project_id, same_name):
        raise NotificationNameTaken(target.name)
    transaction.execute(
        insert(notifications).values(
            id=target.id,
            project_id=target.project_id,
            name=target.name,
            channel=target.channel,
            url=target.url,
            recipients=list(target.recipients),
            language=target.language,
            kinds=sorted(target.kinds),
            sealed_secret=sealed_secret,
            created_at=target.created_at,
            failures=target.failures,
            next_at=target.next_at,
            last_error=target.last_error,
            last_delivered_at=target.last_delivered_at,
        )
    )


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Target]:
    """All targets of the project, by name."""
    return _load(transaction, notifications.c.project_id == project_id)


def find(transaction: Transaction, project_id: ProjectId, wanted: str) -> Target:
    """The target with this id or name.  Raises `NotificationNotFound`."""
    found = _load(
        transaction,
        notifications.c.project_id == project_id,
        or_(notifications.c.id == wanted, notifications.c.name == wanted),
    )
    if not found:
        raise NotificationNotFound(wanted)
    # An id wins over a name that looks like one.
    return next((each for each in found if each.id == wanted), found[0])


def sealed_secret(transaction: Transaction, project_id: ProjectId, target_id: str) -> bytes | None:
    """The secret by which what goes there is signed."""
    return transaction.scalar(
        select(notifications.c.sealed_secret).where(
            notifications.c.project_id == project_id, notifications.c.id == target_id
        )
    )


def remove(transaction: Transaction, project_id: ProjectId, target_id: str) -> None:
    """Nothing is sent there any more, also not what waits."""
    transaction.execute(
        delete(notifications).where(
            notifications.c.project_id == project_id, notifications.c.id == target_id
        )
    )


def enqueue(transaction: Transaction, found: Sequence[Event]) -> None:
    """Sends events on their way to all targets of their projects that want them."""
    targets: dict[str, list[Target]] = defaultdict(list)
    for project_id in {event.project_id for event in found}:
        targets[project_id] = of_project(transaction, project_id)
    rows = [
        {
            "notification_id": target.id,
            "event_number": event.number,
            "state": DeliveryState.WAITING,
            "error": "",
        }
        for event in found
        for target in targets[event.project_id]
        if target.wants(event.kind)
    ]
    if rows:
        transaction.execute(insert(deliveries), rows)


def due(transaction: Transaction, now: datetime, *, until: datetime, limit: int) -> list[Target]:
    """Targets of all projects for which something waits, the longest neglected first.

    One that is left alone beyond `until` was so by a clock that was wrong.
    """
    turn = or_(
        notifications.c.next_at.is_(None),
        notifications.c.next_at <= now,
        notifications.c.next_at > until,
    )
    rows = transaction.execute(
        select(notifications)
        .where(_WAITS, turn)
        .order_by(notifications.c.next_at.nulls_first(), notifications.c.id)
        .limit(limit)
    ).all()
    return [_target(row) for row in rows]


def next_turn(transaction: Transaction) -> datetime | None:
    """When the next target that is left alone has its turn again."""
    found: datetime | None = transaction.scalar(
        select(func.min(notifications.c.next_at)).where(_WAITS)
    )
    return found


def waiting(transaction: Transaction, target: Target, *, limit: int) -> list[int]:
    """Numbers of the events that wait for this target, oldest first."""
    return list(
        transaction.scalars(
            select(deliveries.c.event_number)
            .join(notifications)
            .where(
                notifications.c.project_id == target.project_id,
                deliveries.c.notification_id == target.id,
                deliveries.c.state == DeliveryState.WAITING,
            )
            .order_by(deliveries.c.event_number)
            .limit(limit)
        )
    )


def leave_alone(transaction: Transaction, target: Target, until: datetime) -> None:
    """Nothing is sent there until then."""
    transaction.execute(
        update(notifications)
        .where(notifications.c.project_id == target.project_id, notifications.c.id == target.id)
        .values(next_at=until)
    )


def end_claims(transaction: Transaction, now: datetime) -> None:
    """Targets that a former life of the service was serving have their turn at once."""
    transaction.execute(
        update(notifications)
        .where(notifications.c.failures == 0, notifications.c.next_at > now)
        .values(next_at=None)
    )


def failures(transaction: Transaction, target: Target) -> int:
    """How often in a row something could not be sent there."""
    found = transaction.scalar(
        select(notifications.c.failures).where(
            notifications.c.project_id == target.project_id, notifications.c.id == target.id
        )
    )
    return found or 0


def record_success(transaction: Transaction, target: Target, *, at: datetime) -> None:
    """The target takes what it is sent."""
    transaction.execute(
        update(notifications)
        .where(notifications.c.project_id == target.project_id, notifications.c.id == target.id)
        .values(failures=0, last_error="", last_delivered_at=at)
    )


def record_failure(
    transaction: Transaction, target: Target, why: str, *, next_at: datetime
) -> None:
    """The target did not take it, and is left alone until then."""
    transaction.execute(
        update(notifications)
        .where(notifications.c.project_id == target.project_id, notifications.c.id == target.id)
        .values(failures=notifications.c.failures + 1, last_error=why, next_at=next_at)
    )


def end(
    transaction: Transaction, target: Target, numbers: Collection[int], ended: DeliveryEnd
) -> None:
    """These events wait for this target no more."""
    own = select(notifications.c.id).where(notifications.c.project_id == target.project_id)
    transaction.execute(
        update(deliveries)
        .where(
            deliveries.c.notification_id == target.id,
            deliveries.c.notification_id.in_(own),
            deliveries.c.event_number.in_(numbers),
            deliveries.c.state == DeliveryState.WAITING,
        )
        .values(state=ended.state, ended_at=ended.at, error=ended.error)
    )


def backlog(transaction: Transaction, target: Target) -> Backlog:
    """How many events are on their way there, and were not delivered."""
    rows = transaction.execute(
        select(deliveries.c.state, func.count().label("many"))
        .join(notifications)
        .where(
            notifications.c.project_id == target.project_id,
            deliveries.c.notification_id == target.id,
        )
        .group_by(deliveries.c.state)
    ).all()
    return Backlog(**{row.state: row.many for row in rows})


def drop_oldest(transaction: Transaction, target: Target, *, kept: int, at: datetime) -> int:
    """Drops what waits beyond the newest `kept` events; returns how many."""
    own = select(notifications.c.id).where(notifications.c.project_id == target.project_id)
    waits = (
        deliveries.c.notification_id == target.id,
        deliveries.c.notification_id.in_(own),
        deliveries.c.state == DeliveryState.WAITING,
    )
    oldest_kept = transaction.scalar(
        select(deliveries.c.event_number)
        .where(*waits)
        .order_by(deliveries.c.event_number.desc())
        .offset(kept - 1)
        .limit(1)
    )
    if oldest_kept is None:
        return 0
    result = transaction.execute(
        update(deliveries)
        .where(*waits, deliveries.c.event_number < oldest_kept)
        .values(state=DeliveryState.DROPPED, ended_at=at, error="too many events waited")
    )
    return result.rowcount


def with_backlog(transaction: Transaction) -> list[Target]:
    """Targets of all projects for which something waits."""
    return _load(transaction, _WAITS)


def _load(transaction: Transaction, *conditions: Any) -> list[Target]:
    rows = transaction.execute(
        select(notifications).where(*conditions).order_by(notifications.c.name, notifications.c.id)
    ).all()
    return [_target(row) for row in rows]


def _target(row: Row[Any]) -> Target:
    return Target(
        id=row.id,
        project_id=ProjectId(row.project_id),
        name=row.name,
        channel=Channel(row.channel),
        url=row.url,
        recipients=tuple(row.recipients),
        language=Language(row.language),
        kinds=frozenset(EventKind(each) for each in row.kinds),
        created_at=row.created_at,
        failures=row.failures,
        next_at=row.next_at,
        last_error=row.last_error,
        last_delivered_at=row.last_delivered_at,
    )
