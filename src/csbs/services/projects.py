"""Projects: made, renamed never, deleted when they own nothing; servers assigned to them.

A deletion first refuses what it may, then takes the project out of the catalog, in one transaction
with the note that its repository has to go, then removes that, then the note.  A kill in between
leaves the note, and `finish_deletions` goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from csbs.catalog import Catalog, Transaction, projects
from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import CsbsError, Refused
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import (
    NameTaken,
    Project,
    ProjectNotEmpty,
    ProjectNotFound,
    check_name,
)
from csbs.services.repository_removal import RepositoryRemoval

log = logging.getLogger(__name__)


@dataclass(eq=False)
class NotOfRegion(Refused):
    """The name does not begin with that of the region."""

    name: str
    region: str

    template = "{0.name!r} cannot be the name of a project: call it {0.region}_{0.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectService:
    """What an administrator may ask for; projects are named by id or name."""

    catalog: Catalog
    clock: Clock
    new_id: NewId
    #: The project that new servers belong to; it stays.
    home_id: ProjectId
    region: str
    removal_of: Callable[[ProjectId], RepositoryRemoval]

    def create(self, name: str) -> Project:
        """A project that owns nothing.

        Raises `BadName`, `NameTaken`, and `NotOfRegion`: clients take the part of a project's name
        before the first `_` for its region.
        """
        check_name("project", name)
        if not name.startswith(f"{self.region}_"):
            raise NotOfRegion(name, self.region)
        project = Project(id=ProjectId(self.new_id().replace("-", "")), name=name)
        with self.catalog.transaction() as transaction:
            if projects.find(transaction, name) is not None:
                raise NameTaken(name, "project")
            projects.add(transaction, project)
        return project

    def list_all(self) -> list[Project]:
        """All projects, by name."""
        with self.catalog.transaction() as transaction:
            return projects.all_of_region(transaction)

    def find(self, wanted: str) -> Project:
        """The project with this id or name.  Raises `ProjectNotFound`."""
        with self.catalog.transaction() as transaction:
            return self._found(transaction, wanted)

    def delete(self, wanted: str) -> Project:
        """The project goes, with its memberships and its repository, in which nothing is left.

        Raises `ProjectNotFound`, `ProjectNotEmpty` while it owns servers, backups or policies,
        while its repository has backups that the catalog does not know, or for the one that new
        servers belong to; `RepositoryLocked`, `RepositoryOwned`, and what the store raises.
        """
        project = self.find(wanted)
        with self.catalog.transaction() as transaction:
            self._require_empty(transaction, project)
        removal = self.removal_of(project.id)
        with removal.alone():
            removal.require_empty(project.name)
            with self.catalog.transaction() as transaction:
                self._require_empty(transaction, self._found(transaction, project.id))
                projects.remove(transaction, project, at=self.clock())
            self._finish(project, removal)
        return project

    def finish_deletions(self) -> None:
        """Removes repositories of projects that are gone already; what fails waits for the next.

        Somebody may have taken one over since, and written to it: that one stays.
        """
        with self.catalog.reading() as transaction:
            left = projects.deleted(transaction)
        for project in left:
            removal = self.removal_of(project.id)
            try:
                with removal.alone():
                    removal.require_empty(project.name)
                    self._finish(project, removal)
            except CsbsError as error:
                log.warning(
                    "the repository of a deleted project is still there",
                    extra={"project": project.name, "why": str(error)},
                )

    def _finish(self, project: Project, removal: RepositoryRemoval) -> None:
        removal.erase()
        with self.catalog.transaction() as transaction:
            projects.forget_deleted(transaction, project.id)

    def _found(self, transaction: Transaction, wanted: str) -> Project:
        found = projects.find(transaction, wanted)
        if found is None:
            raise ProjectNotFound(wanted)
        return found

    def _require_empty(self, transaction: Transaction, project: Project) -> None:
        if project.id == self.home_id:
            raise ProjectNotEmpty(project.name, "all servers that belong to no other")
        for what, count in projects.holdings(transaction, project.id).items():
            if count:
                raise ProjectNotEmpty(project.name, f"{count} {what}")
