"""Queries about policies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from csbs.catalog import tags
from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import Source, in_order, own, page_of_ids
from csbs.catalog.policy_tables import policies, policy_servers, schedules
from csbs.catalog.tables import servers
from csbs.domain.consistency import ApplicationMode
from csbs.domain.ids import DiskId, PolicyId, ProjectId, ServerId
from csbs.domain.listing import Listing, Slice
from csbs.domain.policy import (
    BoundServer,
    Policy,
    PolicyNameTaken,
    PolicyNotFound,
    Retention,
    Schedule,
    ServerBound,
)
from csbs.domain.tags import Tag


def add(transaction: Transaction, policy: Policy) -> None:
    """Enters a new policy.  Raises `PolicyNameTaken`, `ServerBound`."""
    _require_free_name(transaction, policy)
    try:
        transaction.execute(insert(policies).values(_values(policy)))
    except IntegrityError:  # two at once
        raise PolicyNameTaken(policy.name) from None
    _add_parts(transaction, policy)


def save(transaction: Transaction, policy: Policy) -> None:
    """Writes the policy anew, with all its parts.  Raises `PolicyNameTaken`, `ServerBound`."""
    _require_free_name(transaction, policy)
    values = _values(policy)
    del values["id"], values["project_id"], values["created_at"]
    try:
        transaction.execute(
            update(policies)
            .where(policies.c.project_id == policy.project_id, policies.c.id == policy.id)
            .values(values)
        )
    except IntegrityError:  # two at once
        raise PolicyNameTaken(policy.name) from None
    for table in (policy_servers, schedules):
        transaction.execute(delete(table).where(table.c.policy_id == policy.id))
    _add_parts(transaction, policy)


def remove(transaction: Transaction, project_id: ProjectId, policy_id: PolicyId) -> None:
    """Forgets the policy; its servers are free.  Raises `PolicyNotFound`."""
    result = transaction.execute(
        delete(policies).where(policies.c.project_id == project_id, policies.c.id == policy_id)
    )
    if result.rowcount == 0:
        raise PolicyNotFound(policy_id)


def get(transaction: Transaction, project_id: ProjectId, policy_id: PolicyId) -> Policy:
    """The policy.  Raises `PolicyNotFound`."""
    found = _load(transaction, project_id, policies.c.id == policy_id)
    if not found:
        raise PolicyNotFound(policy_id)
    return found[0]


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Policy]:
    """All policies of the project, oldest first."""
    return _load(transaction, project_id)


def by_ids(
    transaction: Transaction, project_id: ProjectId | None, ids: Sequence[PolicyId]
) -> list[Policy]:
    """Those of these policies that are there, in this order."""
    return in_order(_load(transaction, project_id, policies.c.id.in_(ids)), ids)


def page(
    transaction: Transaction, project_id: ProjectId | None, name: str | None, listing: Listing
) -> Slice[Policy]:
    """A page of the policies, or of those with this name; without a project: of all projects.

    Raises `MarkerUnknown`.
    """
    source = Source(
        table=policies,
        id=policies.c.id,
        scope=[own(policies.c.project_id, project_id)],
        keys={key: policies.c[key] for key in ("created_at", "updated_at", "name")},
    )
    wanted = [] if name is None else [policies.c.name == name]
    found = page_of_ids(transaction, source, wanted, listing)
    return found.map(lambda ids: by_ids(transaction, project_id, [PolicyId(each) for each in ids]))


def count(transaction: Transaction, project_id: ProjectId) -> int:
    """How many policies the project has."""
    return int(
        transaction.scalar(
            select(func.count()).select_from(policies).where(policies.c.project_id == project_id)
        )
        or 0
    )


def of_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> PolicyId | None:
    """The policy that the server is bound to."""
    return transaction.scalar(
        select(policy_servers.c.policy_id)
        .join(policies)
        .where(policies.c.project_id == project_id, policy_servers.c.server_id == server_id)
    )


def _require_free_name(transaction: Transaction, policy: Policy) -> None:
    taken = transaction.scalar(
        select(policies.c.id).where(
            policies.c.project_id == policy.project_id,
            policies.c.name == policy.name,
            policies.c.id != policy.id,
        )
    )
    if taken is not None:
        raise PolicyNameTaken(policy.name)


def _values(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.id,
        "project_id": policy.project_id,
        "name": policy.name,
        "description": policy.description,
        "parameters": dict(policy.parameters),
        "application": int(policy.application),
        "auto_bind": (
            None if policy.auto_bind is None else {tag.key: tag.value for tag in policy.auto_bind}
        ),
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def _bound(
    transaction: Transaction, project_id: ProjectId, server: BoundServer, holder: PolicyId
) -> ServerBound:
    """Names are those of the project; of another project's policy nothing is told but its id."""
    names = select(policies.c.name).where(
        policies.c.id == holder, policies.c.project_id == project_id
    )
    return ServerBound(server.id, holder, server.called, transaction.scalar(names) or "")


def _add_parts(transaction: Transaction, policy: Policy) -> None:
    for position, server in enumerate(policy.servers):
        holder = transaction.scalar(
            select(policy_servers.c.policy_id).where(policy_servers.c.server_id == server.id)
        )
        if holder is not None:
            raise _bound(transaction, policy.project_id, server, PolicyId(holder))
        row = {
            "server_id": server.id,
            "policy_id": policy.id,
            "position": position,
            "kind": server.kind,
            "name": server.name,
            "exclude_disks": sorted(server.exclude_disks),
            "extra": dict(server.extra),
        }
        try:
            transaction.execute(insert(policy_servers).values(row))
        except IntegrityError:  # two at once
            raise ServerBound(server.id, "another") from None
    for position, schedule in enumerate(policy.schedules):
        values = asdict(schedule) | {"policy_id": policy.id, "position": position}
        transaction.execute(insert(schedules).values(values))
    tags.set_of_policy(transaction, policy.project_id, policy.id, policy.tags)


def _load(transaction: Transaction, project_id: ProjectId | None, *wanted: Any) -> list[Policy]:
    conditions = [own(policies.c.project_id, project_id), *wanted]
    rows = transaction.execute(
        select(policies).where(*conditions).order_by(policies.c.created_at, policies.c.id)
    ).all()
    bound: dict[str, list[BoundServer]] = defaultdict(list)
    for row in transaction.execute(
        select(policy_servers, servers.c.name.label("own_name"))
        .select_from(policy_servers)
        .join(policies)
        .outerjoin(servers, servers.c.id == policy_servers.c.server_id)
        .where(*conditions)
        .order_by(policy_servers.c.policy_id, policy_servers.c.position)
    ):
        bound[row.policy_id].append(
            BoundServer(
                id=ServerId(row.server_id),
                kind=row.kind,
                name=row.name,
                exclude_disks=frozenset(DiskId(each) for each in row.exclude_disks),
                extra=row.extra,
                own_name=row.own_name or "",
            )
        )
    plans: dict[str, list[Schedule]] = defaultdict(list)
    for row in transaction.execute(
        select(schedules)
        .join(policies)
        .where(*conditions)
        .order_by(schedules.c.policy_id, schedules.c.position)
    ):
        plans[row.policy_id].append(_schedule(row))
    given: dict[str, tuple[Tag, ...]] = {}
    for owner in {ProjectId(row.project_id) for row in rows}:
        given |= tags.of_policies(transaction, owner, [row.id for row in rows])
    return [
        Policy(
            **dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
            | {
                "application": ApplicationMode(row.application),
                "auto_bind": _auto_bind(row.auto_bind),
            },
            servers=tuple(bound[row.id]),
            schedules=tuple(plans[row.id]),
            tags=given.get(row.id, ()),
        )
        for row in rows
    ]


def _auto_bind(kept: Mapping[str, str] | None) -> tuple[Tag, ...] | None:
    return None if kept is None else tuple(sorted(Tag(key, kept[key]) for key in kept))


def _schedule(row: Row[Any]) -> Schedule:
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    del values["policy_id"], values["position"]
    return Schedule(**(values | {"retention": Retention(**row.retention)}))
