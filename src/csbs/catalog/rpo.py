"""Queries about promises of policies: how new the backups of their servers are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, ScalarSelect, delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.event_tables import rpo_watches
from csbs.catalog.policy_tables import policies, policy_servers, schedules
from csbs.catalog.tables import backups, servers, tasks
from csbs.domain.backup import BackupState
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import Retention, Schedule
from csbs.domain.rpo import RpoWatch
from csbs.domain.server import ServerRef
from csbs.domain.task import TaskKind, TaskState

_RESTORABLE = (BackupState.AVAILABLE, BackupState.RESTORING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisingPolicy:
    """A policy that runs by itself."""

    id: PolicyId
    project_id: ProjectId
    name: str
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedServer:
    """A server that something is promised for, or was at the last look."""

    project_id: ProjectId
    server: ServerRef
    #: Of a policy that is on; None: nothing is promised (any more).
    policy_id: PolicyId | None
    newest_at: datetime | None
    watch: RpoWatch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRestore:
    """The last restore of a server that was done."""

    started_at: datetime
    ended_at: datetime


def promising(
    transaction: Transaction, project_id: ProjectId | None = None
) -> dict[PolicyId, PromisingPolicy]:
    """Policies that run by themselves: of all projects, or of this one."""
    query = (
        select(
            schedules,
            policies.c.project_id.label("of_project"),
            policies.c.name.label("policy_name"),
        )
        .join(policies)
        .where(schedules.c.enabled.is_(True))
    )
    if project_id is not None:
        query = query.where(policies.c.project_id == project_id)
    rows = transaction.execute(query).all()
    return {
        PolicyId(row.policy_id): PromisingPolicy(
            id=PolicyId(row.policy_id),
            project_id=ProjectId(row.of_project),
            name=row.policy_name,
            schedule=_schedule(row),
        )
        for row in rows
    }


def watched(
    transaction: Transaction, only: Collection[ServerId] | None = None, *, until: datetime
) -> list[WatchedServer]:
    """Servers of policies that are on, and those that are watched still, in all projects.

    `only`: of these; no more than some hundreds.  No backup counts that was made after `until`.
    """
    bound = policy_servers.c.policy_id.in_(
        select(schedules.c.policy_id).where(schedules.c.enabled.is_(True))
    )
    which = bound | rpo_watches.c.server_id.is_not(None)
    if only is not None:
        which &= servers.c.id.in_(only)
    return [_watched(row) for row in _rows(transaction, which, until)]


def all_servers(
    transaction: Transaction,
    project_id: ProjectId,
    only: ServerId | None = None,
    *,
    until: datetime,
) -> list[WatchedServer]:
    """All servers of the project that the catalog knows, or this one of them, by name.

    No backup counts that was made after `until`.
    """
    which = servers.c.project_id == project_id
    if only is not None:
        which &= servers.c.id == only
    found = [_watched(row) for row in _rows(transaction, which, until)]
    return sorted(found, key=lambda each: (each.server.name, each.server.id))


def remember(
    transaction: Transaction, watches: Mapping[ServerId, tuple[ProjectId, RpoWatch]]
) -> None:
    """Keeps what is known of promises for these servers, of some hundreds at once."""
    forget(transaction, watches)
    rows = [
        {
            "server_id": server_id,
            "project_id": project_id,
            "policy_id": watch.policy_id,
            "policy_name": watch.policy_name,
            "terms": watch.terms,
            "since": watch.since,
            "promise_s": watch.promise_s,
            "broken_at": watch.broken_at,
        }
        for server_id, (project_id, watch) in watches.items()
    ]
    if rows:
        transaction.execute(insert(rpo_watches), rows)


def forget(transaction: Transaction, server_ids: Collection[ServerId]) -> None:
    """Nothing is promised for these servers any more."""
    transaction.execute(delete(rpo_watches).where(rpo_watches.c.server_id.in_(server_ids)))


def last_restores(
    transaction: Transaction, project_id: ProjectId, only: ServerId | None = None
) -> dict[ServerId, LastRestore]:
    """Of each server of the project, or this one of them, the last restore that was done."""
    query = select(tasks.c.server_id, tasks.c.started_at, tasks.c.ended_at).where(
        tasks.c.project_id == project_id,
        tasks.c.kind == TaskKind.RESTORE,
        tasks.c.state == TaskState.DONE,
        tasks.c.started_at.is_not(None),
    )
    if only is not None:
        query = query.where(tasks.c.server_id == only)
    return {
        ServerId(row.server_id): LastRestore(started_at=row.started_at, ended_at=row.ended_at)
        for row in transaction.execute(query.order_by(tasks.c.ended_at))
    }


def _newest_at(until: datetime) -> ScalarSelect[datetime]:
    """One look into the index for each server: it has the newest backup at its end."""
    return (
        select(backups.c.created_at)
        .where(
            backups.c.project_id == servers.c.project_id,
            backups.c.server_id == servers.c.id,
            backups.c.state.in_(_RESTORABLE),
            backups.c.created_at <= until,
        )
        .order_by(backups.c.created_at.desc())
        .limit(1)
        .correlate(servers)
        .scalar_subquery()
    )


def _rows(transaction: Transaction, which: ColumnElement[bool], until: datetime) -> list[Row[Any]]:
    on = select(schedules.c.policy_id).where(
        schedules.c.policy_id == policy_servers.c.policy_id, schedules.c.enabled.is_(True)
    )
    query = (
        select(
            servers.c.id,
            servers.c.name,
            servers.c.project_id.label("of_project"),
            on.limit(1).correlate(policy_servers).scalar_subquery().label("promised_by"),
            _newest_at(until).label("newest_at"),
            rpo_watches,
        )
        .select_from(servers)
        .outerjoin(policy_servers, policy_servers.c.server_id == servers.c.id)
        .outerjoin(rpo_watches, rpo_watches.c.server_id == servers.c.id)
        .where(which)
    )
    return list(transaction.execute(query).all())


def _watched(row: Row[Any]) -> WatchedServer:
    watch = None
    if row.policy_id is not None:
        watch = RpoWatch(
            policy_id=PolicyId(row.policy_id),
            policy_name=row.policy_name,
            terms=row.terms,
            since=row.since,
            promise_s=row.promise_s,
            broken_at=row.broken_at,
        )
    return WatchedServer(
        project_id=ProjectId(row.of_project),
        server=ServerRef(ServerId(row.id), row.name),
        policy_id=None if row.promised_by is None else PolicyId(row.promised_by),
        newest_at=row.newest_at,
        watch=watch,
    )


def _schedule(row: Row[Any]) -> Schedule:
    values = {name: getattr(row, name) for name in Schedule.__dataclass_fields__}
    return Schedule(**(values | {"retention": Retention(**row.retention)}))
