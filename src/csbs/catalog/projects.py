"""Queries about projects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import memberships, tokens
from csbs.catalog.policy_tables import policies, quotas
from csbs.catalog.tables import backups, projects, servers
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import Project


def add(transaction: Transaction, project: Project) -> None:
    """Enters a new project."""
    transaction.execute(insert(projects).values(id=project.id, name=project.name))


def all_of_region(transaction: Transaction) -> list[Project]:
    """All projects, by name."""
    rows = transaction.execute(select(projects).order_by(projects.c.name)).all()
    return [_project(row) for row in rows]


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
    """How much the project owns, by what it is."""
    return {
        name: int(
            transaction.scalar(
                select(func.count()).select_from(table).where(table.c.project_id == project_id)
            )
            or 0
        )
        for name, table in (("servers", servers), ("backups", backups), ("policies", policies))
    }


def remove(transaction: Transaction, project_id: ProjectId) -> None:
    """The project goes, with its memberships, tokens and limits; it owns nothing any more."""
    for table in (tokens, memberships, quotas):
        transaction.execute(delete(table).where(table.c.project_id == project_id))
    transaction.execute(delete(projects).where(projects.c.id == project_id))


def _project(row: Row[Any]) -> Project:
    return Project(id=ProjectId(row.id), name=row.name)
