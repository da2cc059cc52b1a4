"""Queries about projects."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import memberships
from csbs.catalog.listing import page_by_name
from csbs.catalog.tables import deleted_projects, metadata, projects
from csbs.domain.ids import ProjectId
from csbs.domain.listing import Slice
from csbs.domain.tenancy import Project, UserId

#: What a project must have none of before it goes; its tasks are of its servers.
_OWNED = {"servers", "backups", "policies"}
#: What stays of it.
_KEPT = {"audit_events"}


def add(transaction: Transaction, project: Project) -> None:
    """Enters a new project."""
    transaction.execute(insert(projects).values(id=project.id, name=project.name))


def all_of_region(transaction: Transaction) -> list[Project]:
    """All projects, by name."""
    rows = transaction.execute(select(projects).order_by(projects.c.name)).all()
    return [_project(row) for row in rows]


def page(transaction: Transaction, member: UserId | None, after: str, limit: int) -> Slice[Project]:
    """Projects whose names come behind this one, by name; of one user those where he has a role."""
    query = select(projects)
    if member is not None:
        query = query.join(memberships).where(memberships.c.user_id == member)
    found = page_by_name(transaction, query, projects.c.name, after, limit)
    return found.map(lambda rows: [_project(row) for row in rows])


def by_id(transaction: Transaction, project_id: ProjectId) -> Project | None:
    """The project with this id."""
    row = transaction.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    return None if row is None else _project(row)


def find(transaction: Transaction, wanted: str) -> Project | None:
    """The project with this id, else the one with this name."""
    rows = transaction.execute(
        select(projects).where(or_(projects.c.id == wanted, projects.c.name == wanted))
    ).all()
    by_id_first = sorted(rows, key=lambda row: row.id != wanted)
    return next((_project(row) for row in by_id_first), None)


def holdings(transaction: Transaction, project_id: ProjectId) -> dict[str, int]:
    """How much the project owns that must be dealt with first, by what it is."""
    return {
        table.name: int(
            transaction.scalar(
                select(func.count()).select_from(table).where(table.c.project_id == project_id)
            )
            or 0
        )
        for table in metadata.sorted_tables
        if table.name in _OWNED
    }


def remove(transaction: Transaction, project: Project, *, at: datetime) -> None:
    """The project goes, with all that is left of it but the audit trail; it owns nothing.

    It is remembered that its repository has to go too: see `deleted`.
    """
    project_id = project.id
    for table in reversed(metadata.sorted_tables):
        if "project_id" in table.c and table.name not in _KEPT:
            transaction.execute(delete(table).where(table.c.project_id == project_id))
    transaction.execute(delete(projects).where(projects.c.id == project_id))
    transaction.execute(
        insert(deleted_projects).values(id=project_id, name=project.name, deleted_at=at)
    )


def deleted(transaction: Transaction) -> list[Project]:
    """Projects that are gone, and whose repositories may still be there, the oldest first."""
    rows = transaction.execute(select(deleted_projects).order_by(deleted_projects.c.deleted_at))
    return [_project(row) for row in rows]


def forget_deleted(transaction: Transaction, project_id: ProjectId) -> None:
    """Nothing is left of the project."""
    transaction.execute(delete(deleted_projects).where(deleted_projects.c.id == project_id))


def _project(row: Row[Any]) -> Project:
    return Project(id=ProjectId(row.id), name=row.name)
