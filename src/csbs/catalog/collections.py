"""Queries about collections: what waits to be freed, and how the last ones ended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from csbs.catalog import tasks
from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import collections
from csbs.domain.collection import CollectionFacts
from csbs.domain.ids import ProjectId


def facts(transaction: Transaction, project_id: ProjectId) -> CollectionFacts:
    """What is known of the project's collections."""
    row = transaction.execute(
        select(collections).where(collections.c.project_id == project_id)
    ).one_or_none()
    if row is None:
        return CollectionFacts()
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    del values["project_id"]
    return CollectionFacts(**values)


def want(transaction: Transaction, project_id: ProjectId, *, at: datetime) -> None:
    """There is something to free, since then at the latest."""
    present = facts(transaction, project_id)
    if present.wanted_since is None:
        _set(transaction, project_id, wanted_since=at)


def begin(transaction: Transaction, project_id: ProjectId, *, at: datetime) -> None:
    """One begins; until it ends nobody knows why it did not."""
    why_not = "it runs still, or csbs ended in the middle of it"
    _set(transaction, project_id, tried_at=at, why_not=why_not)


def break_off(transaction: Transaction, project_id: ProjectId, why: str) -> None:
    """The one that was begun has ended early."""
    _set(transaction, project_id, why_not=why)


def end(transaction: Transaction, project_id: ProjectId, *, at: datetime) -> None:
    """One came to its end: nothing is left to free."""
    _set(
        transaction,
        project_id,
        **asdict(CollectionFacts(ended_at=at)),
    )


def alarm(transaction: Transaction, project_id: ProjectId, *, at: datetime) -> None:
    """It was told that one is overdue."""
    _set(transaction, project_id, alarmed_at=at)


def is_in_use(transaction: Transaction, project_id: ProjectId) -> bool:
    """Whether a task of a service uses the repository, or will: all leases are those of tasks.

    One that a local command left when it died uses nothing.
    """
    return any(each.durable for each in tasks.open_of_project(transaction, project_id))


def waiting_since(transaction: Transaction) -> list[datetime]:
    """Of all projects: since when something waits to be freed, longest first."""
    found = transaction.scalars(
        select(collections.c.wanted_since)
        .where(collections.c.wanted_since.is_not(None))
        .order_by(collections.c.wanted_since)
    )
    return [each for each in found if each is not None]


def _set(transaction: Transaction, project_id: ProjectId, **values: Any) -> None:
    result = transaction.execute(
        update(collections).where(collections.c.project_id == project_id).values(values)
    )
    if result.rowcount == 0:
        transaction.execute(insert(collections).values(project_id=project_id, **values))
