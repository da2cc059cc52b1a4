"""Queries about which project a server belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, insert, select, update

from csbs.catalog.catalog import PROJECT_NAME, Transaction
from csbs.catalog.tables import backups, disks, projects, servers, tasks
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.server import ServerRef
from csbs.domain.task import OPEN_STATES


def visible(
    transaction: Transaction, project_id: ProjectId, server_ids: Iterable[ServerId]
) -> frozenset[ServerId]:
    """Which of these servers of the host are the project's.

    One that was never assigned, nor backed up, is of the project that new servers belong to.
    """
    ids = frozenset(server_ids)
    rows = transaction.execute(select(servers.c.id, servers.c.project_id)).all()
    owners = {ServerId(row.id): row.project_id for row in rows}
    home = transaction.scalar(select(projects.c.id).where(projects.c.name == PROJECT_NAME))
    return frozenset(each for each in ids if owners.get(each, home) == project_id)


def project_of(transaction: Transaction, server_id: ServerId) -> ProjectId:
    """The project that the server belongs to."""
    found = transaction.scalar(select(servers.c.project_id).where(servers.c.id == server_id))
    if found is None:
        found = transaction.scalar(select(projects.c.id).where(projects.c.name == PROJECT_NAME))
    return ProjectId(str(found))


def ties(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> dict[str, int]:
    """What ties the server to the project, by what it is."""
    counts = {
        "backups": select(func.count())
        .select_from(backups)
        .where(backups.c.project_id == project_id, backups.c.server_id == server_id),
        "open tasks": select(func.count())
        .select_from(tasks)
        .where(
            tasks.c.project_id == project_id,
            tasks.c.server_id == server_id,
            tasks.c.state.in_(sorted(OPEN_STATES)),
        ),
    }
    return {what: int(transaction.scalar(query) or 0) for what, query in counts.items()}


def assign(transaction: Transaction, server: ServerRef, project_id: ProjectId) -> None:
    """The server, with its disks, belongs to the project from now on."""
    known = transaction.execute(select(servers.c.id).where(servers.c.id == server.id)).first()
    if known is None:
        transaction.execute(
            insert(servers).values(id=server.id, project_id=project_id, name=server.name)
        )
        return
    transaction.execute(
        update(servers).where(servers.c.id == server.id).values(project_id=project_id)
    )
    transaction.execute(
        update(disks).where(disks.c.server_id == server.id).values(project_id=project_id)
    )
