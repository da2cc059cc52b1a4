"""Servers assigned to projects: by an administrator, while nothing ties them to another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from csbs.catalog import Catalog, Transaction, assignments, projects
from csbs.compute.base import ComputeDriver
from csbs.domain.errors import Refused, ServerAmbiguous, ServerNotFound
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.lookup import matching
from csbs.domain.server import ServerRef
from csbs.domain.tenancy import Project, ProjectNotFound
from csbs.services.locks import Locks


@dataclass(eq=False)
class ServerTied(Refused):
    """A server with backups stays where they are: projects share nothing."""

    server: str
    project: str
    ties: str

    template = (
        "server {0.server} has {0.ties} in project {0.project}: it cannot be assigned to another"
    )


#: Raises if something else ties the server to the project.
RefuseTied = Callable[[Transaction, ProjectId, ServerId], None]


def _nothing_else(_transaction: Transaction, _project: ProjectId, _server: ServerId) -> None:
    """Nothing else ties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentService:
    """What an administrator may ask for."""

    catalog: Catalog
    driver: ComputeDriver
    locks: Locks
    home_id: ProjectId
    refuse_tied: RefuseTied = field(default=_nothing_else)

    def assign(self, server: str, project: str) -> tuple[ServerRef, Project]:
        """The server belongs to the project from now on; both are named by id or name.

        Raises `ServerNotFound`, `ServerAmbiguous`, `ProjectNotFound`, `ServerBusy`, and
        `ServerTied` while it has backups or tasks in another project.
        """
        found = matching(self.driver.list_refs(), server)
        if not found:
            raise ServerNotFound(server)
        if len(found) > 1:
            raise ServerAmbiguous(server, tuple(each.id for each in found))
        with self.locks.server(found[0], "assignment"), self.catalog.transaction() as transaction:
            target = projects.find(transaction, project)
            if target is None:
                raise ProjectNotFound(project)
            owner = assignments.project_of(transaction, found[0].id)
            if owner != target.id:
                self._refuse_tied(transaction, owner, found[0])
                assignments.assign(transaction, found[0], target.id)
        return found[0], target

    def project_of(self, server_id: ServerId) -> ProjectId:
        """The project that the server belongs to."""
        with self.catalog.transaction() as transaction:
            return assignments.project_of(transaction, server_id)

    def _refuse_tied(self, transaction: Transaction, owner: ProjectId, server: ServerRef) -> None:
        ties = assignments.ties(transaction, owner, server.id)
        told = ", ".join(f"{count} {what}" for what, count in ties.items() if count)
        if told:
            raise ServerTied(server.name, owner, told)
        self.refuse_tied(transaction, owner, server.id)
