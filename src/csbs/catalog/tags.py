"""Queries about tags of backups and of policies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Table, delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.policy_tables import backup_tags, policies, policy_tags
from csbs.catalog.tables import backups
from csbs.domain.ids import BackupId, PolicyId, ProjectId
from csbs.domain.tags import Tag


def of_backup(
    transaction: Transaction, project_id: ProjectId, backup_id: BackupId
) -> tuple[Tag, ...]:
    """The tags of the backup, by key."""
    found = _of(transaction, backups, backup_tags, project_id, backups.c.id == backup_id)
    return found.get(backup_id, ())


def of_backups(
    transaction: Transaction, project_id: ProjectId, ids: Collection[BackupId]
) -> Mapping[str, tuple[Tag, ...]]:
    """Tags of those of these backups that have some, by id."""
    return _of(transaction, backups, backup_tags, project_id, backups.c.id.in_(ids))


def of_policies(
    transaction: Transaction, project_id: ProjectId, ids: Collection[PolicyId]
) -> Mapping[str, tuple[Tag, ...]]:
    """Tags of those of these policies that have some, by id."""
    return _of(transaction, policies, policy_tags, project_id, policies.c.id.in_(ids))


def set_of_backup(
    transaction: Transaction, project_id: ProjectId, backup_id: BackupId, tags: Collection[Tag]
) -> None:
    """Gives the backup these tags and no others; it must be one of the project."""
    _set(transaction, (backups, backup_tags), project_id, backup_id, tags)


def set_of_policy(
    transaction: Transaction, project_id: ProjectId, policy_id: PolicyId, tags: Collection[Tag]
) -> None:
    """Gives the policy these tags and no others; it must be one of the project."""
    _set(transaction, (policies, policy_tags), project_id, policy_id, tags)


def _of(
    transaction: Transaction, owners: Table, table: Table, project_id: ProjectId, *conditions: Any
) -> dict[str, tuple[Tag, ...]]:
    owner_id = next(iter(table.primary_key.columns))
    rows = transaction.execute(
        select(owner_id.label("owner_id"), table.c.key, table.c.value)
        .join(owners, owners.c.id == owner_id)
        .where(owners.c.project_id == project_id, *conditions)
        .order_by(owner_id, table.c.key)
    )
    found: dict[str, list[Tag]] = defaultdict(list)
    for row in rows:
        found[row.owner_id].append(Tag(row.key, row.value))
    return {owner: tuple(tags) for owner, tags in found.items()}


def _set(
    transaction: Transaction,
    tables: tuple[Table, Table],
    project_id: ProjectId,
    owner: str,
    tags: Collection[Tag],
) -> None:
    owners, table = tables
    owner_id = next(iter(table.primary_key.columns))
    mine = select(owners.c.id).where(owners.c.project_id == project_id, owners.c.id == owner)
    assert transaction.scalar(mine) is not None
    transaction.execute(delete(table).where(owner_id == owner))
    rows = [{owner_id.name: owner, "key": tag.key, "value": tag.value} for tag in tags]
    if rows:
        transaction.execute(insert(table), rows)
