"""Queries about leases: what somebody uses of a repository right now, and since which epoch.

A lease is recorded before what it names is used, and ends with its task.  Collection, which
excludes everybody else by a lock so far, raises the epoch each time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import epochs, leases
from csbs.domain.ids import ProjectId, TaskId


class LeaseKind(StrEnum):
    """What its holder does."""

    WRITING = "writing"
    READING = "reading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One use of a repository."""

    id: str
    task_id: TaskId
    kind: LeaseKind
    #: The project's epoch when it was given.
    epoch: int
    #: Where a writer's manifest will be; empty for readers.
    manifest_key: str
    #: Keys of the manifests that are used.
    uses: tuple[str, ...]
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseWanted:
    """What a lease is asked for with."""

    task_id: TaskId
    kind: LeaseKind
    manifest_key: str = ""
    uses: Collection[str] = ()


def give(
    transaction: Transaction,
    project_id: ProjectId,
    lease_id: str,
    wanted: LeaseWanted,
    *,
    at: datetime,
) -> Lease:
    """A new lease of the present epoch."""
    lease = Lease(
        id=lease_id,
        task_id=wanted.task_id,
        kind=wanted.kind,
        epoch=epoch(transaction, project_id),
        manifest_key=wanted.manifest_key,
        uses=tuple(sorted(wanted.uses)),
        given_at=at,
    )
    transaction.execute(
        insert(leases).values(
            id=lease.id,
            project_id=project_id,
            task_id=lease.task_id,
            kind=lease.kind,
            epoch=lease.epoch,
            manifest_key=lease.manifest_key,
            uses=list(lease.uses),
            given_at=at,
        )
    )
    return lease


def end_of_task(transaction: Transaction, project_id: ProjectId, task_id: TaskId) -> None:
    """Ends all leases of the task."""
    transaction.execute(
        delete(leases).where(leases.c.project_id == project_id, leases.c.task_id == task_id)
    )


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Lease]:
    """All leases, oldest first."""
    rows = transaction.execute(
        select(leases)
        .where(leases.c.project_id == project_id)
        .order_by(leases.c.given_at, leases.c.id)
    ).all()
    return [
        Lease(
            id=row.id,
            task_id=TaskId(row.task_id),
            kind=LeaseKind(row.kind),
            epoch=row.epoch,
            manifest_key=row.manifest_key,
            uses=tuple(row.uses),
            given_at=row.given_at,
        )
        for row in rows
    ]


def epoch(transaction: Transaction, project_id: ProjectId) -> int:
    """The present epoch of the project's repository; 0 before its first collection."""
    found = transaction.scalar(select(epochs.c.epoch).where(epochs.c.project_id == project_id))
    return 0 if found is None else int(found)


def raise_epoch(transaction: Transaction, project_id: ProjectId) -> int:
    """The next epoch, which is the present one from here on."""
    following = epoch(transaction, project_id) + 1
    result = transaction.execute(
        update(epochs).where(epochs.c.project_id == project_id).values(epoch=following)
    )
    if result.rowcount == 0:
        transaction.execute(insert(epochs).values(project_id=project_id, epoch=following))
    return following
