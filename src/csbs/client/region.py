"""The use cases of a region, in a service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from csbs.client.connection import Connection
from csbs.client.login import find_project, projects_of
from csbs.documents.base import DeletedObject
from csbs.documents.identity import (
    Assignment,
    AuditDocument,
    AuditPage,
    KeyList,
    NewKey,
    NewKeyDocument,
    NewProject,
    NewUser,
    ProjectDocument,
    ProjectList,
    RoleBody,
    RoleInProject,
    ServerAssignment,
    UserChange,
    UserDetails,
    UserList,
    UserPage,
)

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class RemoteUsers:
    """See `csbs.cli.ports.Users`."""

    connection: Connection

    def list_all(self) -> UserList:
        """All users."""
        pages = self.connection.all_of(UserPage, "users")
        return UserList(users=[each for page in pages for each in page.users])

    def show(self, user: str) -> UserDetails:
        """One user."""
        return self.connection.get(UserDetails, "users", user)

    def create(self, new: NewUser) -> UserDetails:
        """Makes a user."""
        return self.connection.ask("POST", UserDetails, "users", body=new)

    def change(self, user: str, change: UserChange) -> UserDetails:
        """Changes a user."""
        return self.connection.ask("PATCH", UserDetails, "users", user, body=change)

    def delete(self, user: str) -> DeletedObject:
        """Deletes a user."""
        found = self.show(user)
        self.connection.tell("DELETE", "users", found.id)
        return DeletedObject(deleted=found.id, name=found.name)

    def set_role(self, user: str, project: str, role: RoleBody) -> None:
        """Gives a role."""
        path = ("users", user, "roles", project)
        self.connection.ask("PUT", RoleInProject, *path, body=role)

    def take_role(self, user: str, project: str) -> None:
        """Takes it."""
        self.connection.tell("DELETE", "users", user, "roles", project)


@dataclass(frozen=True, slots=True)
class RemoteProjects:
    """See `csbs.cli.ports.Projects`."""

    connection: Connection

    def list_all(self) -> ProjectList:
        """All projects that the caller may see."""
        return ProjectList(projects=projects_of(self.connection))

    def create(self, new: NewProject) -> ProjectDocument:
        """Makes a project."""
        return self.connection.ask("POST", ProjectDocument, "projects", body=new)

    def delete(self, project: str) -> DeletedObject:
        """Deletes a project that owns nothing."""
        known = [each for each in self.list_all().projects if project in {each.id, each.name}]
        named = known[0] if known else ProjectDocument(id=project, name=project)
        self.connection.tell("DELETE", "projects", named.id)
        return DeletedObject(deleted=named.id, name=named.name)

    def assign(self, server: str, project: str) -> ServerAssignment:
        """Assigns a server."""
        body = Assignment(project=project)
        return self.connection.ask("PUT", ServerAssignment, "servers", server, "project", body=body)


@dataclass(frozen=True, slots=True)
class RemoteKeys:
    """See `csbs.cli.ports.Keys`."""

    connection: Connection

    def of_user(self, user: str) -> KeyList:
        """A user's keys."""
        return self.connection.get(KeyList, "users", user, "keys")

    def create(self, user: str, new: NewKey) -> NewKeyDocument:
        """Makes a key."""
        return self.connection.ask("POST", NewKeyDocument, "users", user, "keys", body=new)

    def delete(self, key: str) -> DeletedObject:
        """Deletes a key."""
        self.connection.tell("DELETE", "keys", key)
        return DeletedObject(deleted=key, name=key)


@dataclass(frozen=True, slots=True)
class RemoteTrail:
    """See `csbs.cli.ports.Trail`."""

    connection: Connection

    def events(self, project: str | None, since: datetime | None) -> Iterator[AuditDocument]:
        """All events, oldest first, read page by page."""
        path: tuple[str, ...] = ("audit",)
        if project is not None:
            path = ("projects", find_project(self.connection, project).id, "audit")
        number = 0
        while True:
            query: dict[str, str | int] = {"after": number, "limit": _PAGE}
            if since is not None:
                query["since"] = since.isoformat()
            page = self.connection.get(AuditPage, *path, query=query).events
            yield from page
            if len(page) < _PAGE:
                return
            number = page[-1].number
