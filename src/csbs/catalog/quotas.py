"""Queries about quotas."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.policy_tables import quotas
from csbs.domain.ids import ProjectId
from csbs.domain.quota import Quotas


def of_project(transaction: Transaction, project_id: ProjectId) -> Quotas:
    """The limits of the project."""
    rows = transaction.execute(select(quotas).where(quotas.c.project_id == project_id))
    return Quotas(**{row.resource: row.most for row in rows})


def set_limit(
    transaction: Transaction, project_id: ProjectId, resource: str, most: int | None
) -> None:
    """Sets one limit, by the name of its field in `Quotas`; None: no limit."""
    assert resource in Quotas.__dataclass_fields__
    transaction.execute(
        delete(quotas).where(quotas.c.project_id == project_id, quotas.c.resource == resource)
    )
    transaction.execute(insert(quotas).values(project_id=project_id, resource=resource, most=most))
