"""Who asks, for which project, and what he may do there.

A project owns servers, backups and policies; projects share nothing.  A user is a member or a
reader of projects.  An administrator is one of the region: he may do everything in each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from csbs.domain.errors import Conflict, Denied, Invalid, NotFound, Refused, Unavailable
from csbs.domain.ids import ProjectId

#: 32 hexadecimal digits.
UserId = NewType("UserId", str)
#: What a signed request names its signer by: 20 capital letters and digits.
AccessKeyId = NewType("AccessKeyId", str)

#: Clients want domains; a region has this one, and all users and projects are in it.
DOMAIN_ID = "5f0c3a8e1d7b4c62a94de0b7136f28c5"
DOMAIN_NAME = "Default"

_NAME = re.compile(r"[^\W_][\w.@+-]{0,63}", re.ASCII)
#: Short ones are guessed; argon2 reads no more than this in any case that makes sense.
_PASSWORD_SIZE_MIN, _PASSWORD_SIZE_MAX = 8, 256


class Role(StrEnum):
    """What somebody may do in a project; each may also do what the next ones may."""

    #: Of the region, so in every project: users, projects, assignments, the whole audit trail.
    ADMIN = "admin"
    #: Everything in the project.
    MEMBER = "member"
    #: Look at everything in the project.
    READER = "reader"


_IMPLIED: dict[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset(Role),
    Role.MEMBER: frozenset({Role.MEMBER, Role.READER}),
    Role.READER: frozenset({Role.READER}),
}


def with_implied(roles: Iterable[Role]) -> frozenset[Role]:
    """The roles, and those that they imply."""
    return frozenset().union(*(_IMPLIED[role] for role in roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant."""

    id: ProjectId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may log in."""

    id: UserId
    name: str
    enabled: bool
    #: Administrator of the region.
    is_admin: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A user's role in a project."""

    project: Project
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair for signed requests, without its secret."""

    id: AccessKeyId
    user_id: UserId
    description: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request, as it was proved, and the project that it is about."""

    user_id: UserId
    user_name: str
    #: None where the request is about no project: an unscoped token, or one of the domain.
    project_id: ProjectId | None
    project_name: str
    #: In that project, implied ones too; without a project those of the region.
    roles: frozenset[Role]
    remote_address: str
    request_id: str

    def may(self, role: Role) -> bool:
        """Whether he has this role, or one that implies it."""
        return role in self.roles


def check_name(kind: str, name: str) -> str:
    """The name, if users and projects may be called so.  Raises `BadName`."""
    if not _NAME.fullmatch(name):
        raise BadName(name, kind)
    return name


def check_password(user_name: str, password: str) -> str:
    """The password, if it may be one.  Raises `BadPassword`."""
    if not _PASSWORD_SIZE_MIN <= len(password) <= _PASSWORD_SIZE_MAX:
        raise BadPassword(user_name, _PASSWORD_SIZE_MIN, _PASSWORD_SIZE_MAX)
    return password


# --- who is it --------------------------------------------------------------------------------


@dataclass(eq=False)
class NotAuthenticated(Denied):
    """Nobody proved who he is: no, or a wrong or an expired token, password or signature.

    `why` never says whether a user exists.
    """

    why: str

    template = "the request you have made requires authentication: {0.why}"


@dataclass(eq=False)
class TooManyFailures(Unavailable):
    """Passwords were guessed wrong too often; nobody may try for a while."""

    address: str
    wait_s: int

    template = "too many failed logins from {0.address}: try again in {0.wait_s} s"


@dataclass(eq=False)
class LoginsBusy(Unavailable):
    """More passwords wait to be checked than this service checks at once."""

    service: str

    template = "{0.service} is checking as many passwords as it can: try again"


@dataclass(eq=False)
class NotAllowed(Denied):
    """Known, and without the role that is needed."""

    operation: str
    role: str

    template = "{0.operation} needs the role {0.role}"


@dataclass(eq=False)
class OtherProject(Denied):
    """The request is about a project that the caller has no role in, or that is not there."""

    project: str

    template = "no role in project {0.project}"


# --- users, projects, keys --------------------------------------------------------------------


@dataclass(eq=False)
class BadName(Invalid):
    """A user or a project may not be called so."""

    name: str
    noun: str

    template = (
        "{0.name!r} cannot be the name of a {0.noun}: 1 to 64 letters, digits, '.', '_', '@', "
        "'+' and '-', the first a letter or digit"
    )


@dataclass(eq=False)
class BadPassword(Invalid):
    """Too short, or too long."""

    user: str
    min_size: int
    max_size: int

    template = "the password of {0.user} must have {0.min_size} to {0.max_size} characters"


@dataclass(eq=False)
class UserNotFound(NotFound):
    """No user has this id or name."""

    user: str

    template = "there is no user {0.user!r}"


@dataclass(eq=False)
class ProjectNotFound(NotFound):
    """No project has this id or name."""

    project: str

    template = "there is no project {0.project!r}"


@dataclass(eq=False)
class TokenNotFound(NotFound):
    """A token that was asked about, by somebody whose own is good."""

    template = "there is no such token, or it has expired"


@dataclass(eq=False)
class AccessKeyNotFound(NotFound):
    """There is no such access key."""

    access_key: str

    template = "there is no access key {0.access_key!r}"


@dataclass(eq=False)
class NameTaken(Conflict):
    """Another one has this name already."""

    name: str
    noun: str

    template = "there is a {0.noun} {0.name} already"


@dataclass(eq=False)
class TooManyKeys(Refused):
    """A user has as many access keys as he may have."""

    user: str
    max_count: int

    template = "user {0.user} has {0.max_count} access keys already: delete one"


@dataclass(eq=False)
class ProjectNotEmpty(Refused):
    """A project that owns something stays."""

    project: str
    what: str

    template = "project {0.project} has {0.what}: it cannot be deleted"


@dataclass(eq=False)
class LastAdministrator(Refused):
    """Without an administrator nobody could make one through the API."""

    user: str

    template = "{0.user} is the last administrator who may log in"
