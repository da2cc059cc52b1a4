"""Queries about tags of servers, and about servers that rules of tags may bind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import delete, insert, or_, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.policy_tables import policies, policy_servers
from csbs.catalog.run_tables import server_tags
from csbs.catalog.tables import servers
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.tags import Tag


def of_project(transaction: Transaction, project_id: ProjectId) -> dict[ServerId, tuple[Tag, ...]]:
    """Tags of all servers of the project that have some, by key."""
    rows = transaction.execute(
        select(server_tags)
        .join(servers)
        .where(servers.c.project_id == project_id)
        .order_by(server_tags.c.server_id, server_tags.c.key)
    )
    found: dict[ServerId, list[Tag]] = defaultdict(list)
    for row in rows:
        found[ServerId(row.server_id)].append(Tag(row.key, row.value))
    return {server_id: tuple(tags) for server_id, tags in found.items()}


def of_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> tuple[Tag, ...]:
    """The tags of the server, by key."""
    rows = transaction.execute(
        select(server_tags.c.key, server_tags.c.value)
        .join(servers)
        .where(servers.c.project_id == project_id, servers.c.id == server_id)
        .order_by(server_tags.c.key)
    )
    return tuple(Tag(row.key, row.value) for row in rows)


def set_of_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId, tags: Collection[Tag]
) -> None:
    """Gives a known server of the project these tags and no others."""
    mine = select(servers.c.id).where(servers.c.project_id == project_id, servers.c.id == server_id)
    assert transaction.scalar(mine) is not None
    transaction.execute(delete(server_tags).where(server_tags.c.server_id == server_id))
    rows = [{"server_id": server_id, "key": tag.key, "value": tag.value} for tag in tags]
    if rows:
        transaction.execute(insert(server_tags), rows)


def keep_unbound(
    transaction: Transaction, project_id: ProjectId, ids: Collection[ServerId], *, keep: bool
) -> None:
    """Whether rules of tags leave these servers alone."""
    if ids:
        transaction.execute(
            update(servers)
            .where(servers.c.project_id == project_id, servers.c.id.in_(ids))
            .values(keep_unbound=keep)
        )


def not_for_rules(transaction: Transaction, project_id: ProjectId) -> frozenset[ServerId]:
    """Servers that belong to a policy, or are kept out of policies."""
    bound = (
        select(policy_servers.c.server_id).join(policies).where(policies.c.project_id == project_id)
    )
    found = transaction.scalars(
        select(servers.c.id).where(
            servers.c.project_id == project_id,
            or_(servers.c.keep_unbound.is_(True), servers.c.id.in_(bound)),
        )
    )
    return frozenset(ServerId(each) for each in found)
