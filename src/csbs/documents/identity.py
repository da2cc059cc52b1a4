"""Users, projects, access keys, the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool

from csbs.documents.base import Body, Document, Name, Page, Reference, Text
from csbs.domain.audit import AuditEvent
from csbs.domain.tenancy import AccessKey, Membership, Project, Role, User

#: Of users and projects (`csbs.domain.tenancy`).
#: What a pattern says here is documented; services check it, and say it better.
NewName = Annotated[
    str,
    Field(max_length=255, json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}$"}),
]
Password = Annotated[str, Field(max_length=256)]
NewPassword = Annotated[str, Field(max_length=256, json_schema_extra={"minLength": 8})]


class Health(Document):
    """What this service is."""

    region: str
    version: str


class NewProject(Body):
    """A project to make; its name begins with that of the region and `_`."""

    name: NewName


class ProjectDocument(Document):
    """A project."""

    id: str
    name: str

    @classmethod
    def of(cls, project: Project) -> Self:
        """As it is."""
        return cls(id=project.id, name=project.name)


class ProjectList(Page):
    """Projects, by name."""

    projects: list[ProjectDocument]


class ProjectPage(ProjectList, Page):
    """Some of them."""


class NewUser(Body):
    """A user to make."""

    name: NewName
    password: NewPassword
    is_admin: StrictBool = False


class UserChange(Body):
    """What is to be otherwise; what is left out stays."""

    password: NewPassword | None = None
    enabled: StrictBool | None = None
    is_admin: StrictBool | None = None


class PasswordChange(Body):
    """One's own password."""

    old: Password
    new: NewPassword


class RoleBody(Body):
    """A role in a project; `admin` is of the region: see `is_admin` of a user."""

    role: Literal[Role.MEMBER, Role.READER]


class RoleInProject(Document):
    """What a user may do in a project."""

    project: Reference
    role: Role

    @classmethod
    def of(cls, membership: Membership) -> Self:
        """As it is."""
        project = membership.project
        return cls(project=Reference(id=project.id, name=project.name), role=membership.role)


class UserDocument(Document):
    """A user."""

    id: str
    name: str
    enabled: bool
    is_admin: bool
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        """As he is."""
        return cls.model_validate(user)


class UserDetails(UserDocument):
    """A user, with his roles in projects."""

    roles: list[RoleInProject]

    @classmethod
    def with_roles(cls, user: User, memberships: Sequence[Membership]) -> Self:
        """As he is."""
        return cls(
            **UserDocument.of(user).model_dump(),
            roles=[RoleInProject.of(each) for each in memberships],
        )


class UserList(Page):
    """Users, by name."""

    users: list[UserDocument]


class UserPage(UserList, Page):
    """Some of them."""


class NewKey(Body):
    """An access key to make."""

    description: Text = ""


class KeyDocument(Document):
    """An access key, without its secret."""

    id: str
    description: str
    created_at: datetime

    @classmethod
    def of(cls, key: AccessKey) -> Self:
        """As it is."""
        return cls.model_validate(key)


class NewKeyDocument(KeyDocument):
    """An access key that was made; its secret is shown here and nowhere else."""

    secret: str

    @classmethod
    def with_secret(cls, key: AccessKey, secret: str) -> Self:
        """As it was made."""
        return cls(**KeyDocument.of(key).model_dump(), secret=secret)


class KeyList(Document):
    """Access keys, oldest first."""

    keys: list[KeyDocument]


class Assignment(Body):
    """The project, by id or name, that a server is to belong to."""

    project: Name


class ServerAssignment(Document):
    """A server and the project that it belongs to."""

    server: Reference
    project: Reference


class AuditDocument(Document):
    """One change, or an attempt at one."""

    number: int
    at: datetime
    project_id: str | None
    user: Reference
    action: str
    target: str
    remote_address: str
    request_id: str
    result: str
    reason: str

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """As it was."""
        return cls(
            number=event.number,
            at=event.at,
            project_id=event.project_id,
            user=Reference(id=event.user_id, name=event.user_name),
            action=event.action,
            target=event.target,
            remote_address=event.remote_address,
            request_id=event.request_id,
            result=event.result,
            reason=event.reason,
        )


class AuditPage(Document):
    """Events, oldest first; the next page begins after the number of the last one."""

    events: list[AuditDocument]
