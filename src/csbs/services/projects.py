"""Projects: made, renamed never, deleted when they own nothing; servers assigned to them."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.catalog import Catalog, projects
from csbs.domain.clock import NewId
from csbs.domain.errors import Refused
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import (
    NameTaken,
    Project,
    ProjectNotEmpty,
    ProjectNotFound,
    check_name,
)


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
    new_id: NewId
    #: The project that new servers belong to; it stays.
    home_id: ProjectId
    region: str

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
            found = projects.find(transaction, wanted)
        if found is None:
            raise ProjectNotFound(wanted)
        return found

    def delete(self, wanted: str) -> Project:
        """The project goes, with its memberships.

        Raises `ProjectNotFound`, `ProjectNotEmpty` while it owns servers or backups, or is the
        one that new servers belong to.
        """
        with self.catalog.transaction() as transaction:
            project = projects.find(transaction, wanted)
            if project is None:
                raise ProjectNotFound(wanted)
            if project.id == self.home_id:
                raise ProjectNotEmpty(project.name, "all servers that belong to no other")
            for what, count in projects.holdings(transaction, project.id).items():
                if count:
                    raise ProjectNotEmpty(project.name, f"{count} {what}")
            projects.remove(transaction, project.id)
        return project
