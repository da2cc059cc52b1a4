"""Who asks, and the use cases that he may reach: what a call declares as its parameters.

def list_backups(here: Reads) -> ...:       here.app, here.caller; of the project in the path
def create_user(here: Administers) -> ...:  here.region, here.caller; of the region
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from csbs.api.errors import RequestInvalid
from csbs.domain.ids import ProjectId
from csbs.domain.signing import SentRequest, is_signed
from csbs.domain.tenancy import Caller, NotAllowed, NotAuthenticated, OtherProject, Role, User
from csbs.services.identity import Session, region_roles
from csbs.services.project_app import App
from csbs.services.region import Region

_HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class InProject:
    """A call about the project in its path, by somebody who has the role for it."""

    caller: Caller
    app: App
    region: Region

    @property
    def project_id(self) -> ProjectId:
        """The project in the path."""
        assert self.caller.project_id is not None
        return self.caller.project_id


@dataclass(frozen=True, slots=True, kw_only=True)
class InRegion:
    """A call about the region, by somebody who is known."""

    caller: Caller
    user: User
    region: Region

    def require(self, role: Role) -> None:
        """Raises `NotAllowed` without this role in the region, or in the token's project."""
        if not self.caller.may(role):
            raise NotAllowed("this call", role)


def region_of(request: Request) -> Region:
    """The region that this service is of."""
    found: Region = request.app.state.region
    return found


def sent_request(request: Request) -> SentRequest:
    """The request as it came, for who verifies its signature."""
    return SentRequest(
        method=request.method,
        raw_path=request.scope["raw_path"].decode("ascii", "replace"),
        raw_query=request.scope["query_string"].decode("ascii", "replace"),
        headers=dict(reversed(request.headers.items())),  # of a repeated one the first
        body=request.state.body,
    )


def public_url(request: Request) -> str:
    """Where clients reach this service: by its setting, else where this one did."""
    fixed: str = request.app.state.public_url
    if fixed:
        return fixed
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise RequestInvalid("Host", "is no name of a host")
    return f"{request.scope['scheme']}://{host}"


def remote_address(request: Request) -> str:
    """Where the request came from."""
    return request.client.host if request.client else ""


def session_of(request: Request) -> Session | None:
    """What the request's token stands for; None for one that is signed instead.

    Raises `NotAuthenticated` if it has neither, or a bad token.
    """
    token = request.headers.get("x-auth-token")
    if token:
        return region_of(request).identity.session(token)
    if is_signed(sent_request(request)):
        return None
    raise NotAuthenticated("neither X-Auth-Token nor a signature was sent")


def caller_of(request: Request) -> Caller:
    """Who sent the request; about the project of his token, if that has one.

    Raises `NotAuthenticated`.
    """
    _user, caller = _identified(request)
    return caller


def in_project(role: Role) -> Callable[[str, Request], InProject]:
    """What a call about the project in its path needs."""

    def dependency(project_id: str, request: Request) -> InProject:
        user, caller = _identified(request)
        region = region_of(request)
        # A token of another project is none for this one.  A signature is of no project.
        if caller.project_id not in {None, project_id}:
            raise OtherProject(project_id)
        project, roles = region.identity.roles_in(user, project_id)
        caller = _caller(request, user, project.id, project.name, roles)
        _require(request, caller, role)
        return InProject(caller=caller, app=region.project_app(project.id), region=region)

    return dependency


def in_region(role: Role | None) -> Callable[[Request], InRegion]:
    """What a call about the region needs; None: only that the caller is known."""

    def dependency(request: Request) -> InRegion:
        user, caller = _identified(request)
        if role is not None:
            _require(request, caller, role)
        return InRegion(caller=caller, user=user, region=region_of(request))

    return dependency


#: To look at what a project has; to change it; to run the region; to be known.
Reads = Annotated[InProject, Depends(in_project(Role.READER))]
Changes = Annotated[InProject, Depends(in_project(Role.MEMBER))]
AdministersProject = Annotated[InProject, Depends(in_project(Role.ADMIN))]
Administers = Annotated[InRegion, Depends(in_region(Role.ADMIN))]
Known = Annotated[InRegion, Depends(in_region(None))]


def _identified(request: Request) -> tuple[User, Caller]:
    session = session_of(request)
    if session is None:
        user = region_of(request).identity.signer(sent_request(request))
        return user, _caller(request, user, None, "", region_roles(user))
    project = session.project
    caller = _caller(
        request,
        session.user,
        project.id if project else None,
        project.name if project else "",
        session.roles,
    )
    return session.user, caller


def _caller(
    request: Request,
    user: User,
    project_id: ProjectId | None,
    project_name: str,
    roles: frozenset[Role],
) -> Caller:
    caller = Caller(
        user_id=user.id,
        user_name=user.name,
        project_id=project_id,
        project_name=project_name,
        roles=roles,
        remote_address=remote_address(request),
        request_id=request.state.request_id,
    )
    # For the log and the audit trail, which see the request when it is answered.
    request.state.caller = caller
    return caller


def _require(request: Request, caller: Caller, role: Role) -> None:
    if not caller.may(role):
        name = getattr(request.scope.get("route"), "name", "this call")
        raise NotAllowed(name, role)
