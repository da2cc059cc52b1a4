"""What clients look up around a token: the catalog, projects, domains, users."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from csbs.api.context import InRegion, Known, public_url, sent_request
from csbs.api.errors import RouteUnknown
from csbs.api.identity_v3 import catalog
from csbs.api.identity_v3.documents import (
    Document,
    domain_document,
    project_document,
    user_document,
)
from csbs.domain.ids import ProjectId
from csbs.domain.signing import is_signed
from csbs.domain.tenancy import DOMAIN_ID, DOMAIN_NAME, OtherProject, ProjectNotFound, Role

router = APIRouter()

Name = Annotated[str | None, Query(max_length=255)]


@router.get("/auth/catalog")
def show_catalog(here: Known, request: Request) -> Document:
    """The catalog of the token, or of the project that a signed request names."""
    found = catalog.catalog(public_url(request), here.region.name, _project_of(here, request))
    # An object: a list here fails in two SDKs.
    return {"catalog": found, "links": {}}


@router.get("/endpoints")
def list_endpoints(here: Known, request: Request) -> Document:
    """All endpoints, with a place for the project's id."""
    return {"endpoints": catalog.endpoints(public_url(request), here.region.name), "links": {}}


@router.get("/services")
def list_services(here: Known) -> Document:
    """All services."""
    del here
    return {"services": catalog.services(), "links": {}}


@router.get("/projects")
@router.get("/auth/projects")
def list_projects(here: Known, name: Name = None) -> Document:
    """The projects where the caller has a role; SDKs take the first, so the filter must work."""
    found = [
        project_document(project)
        for project in here.region.identity.projects_of(here.user)
        if name in {None, project.name}
    ]
    return {"projects": found, "links": {}}


@router.get("/projects/{project_id}")
def show_project(project_id: str, here: Known) -> Document:
    """One project where the caller has a role; all others are not there."""
    try:
        project, _roles = here.region.identity.roles_in(here.user, project_id)
    except OtherProject:
        raise ProjectNotFound(project_id) from None
    return {"project": project_document(project)}


@router.get("/domains")
@router.get("/auth/domains")
def list_domains(here: Known, name: Name = None) -> Document:
    """The one domain."""
    del here
    found = [domain_document()] if name in {None, DOMAIN_NAME} else []
    return {"domains": found, "links": {}}


@router.get("/domains/{domain_id}")
def show_domain(domain_id: str, here: Known, request: Request) -> Document:
    """The one domain."""
    del here
    if domain_id != DOMAIN_ID:
        raise RouteUnknown(request.url.path)
    return {"domain": domain_document()}


@router.get("/users")
def list_users(here: Known, name: Name = None) -> Document:
    """The caller himself; all users for an administrator."""
    users = here.region.users.everyone() if here.caller.may(Role.ADMIN) else [here.user]
    found = [user_document(user) for user in users if name in {None, user.name}]
    return {"users": found, "links": {}}


@router.get("/users/{user_id}")
def show_user(user_id: str, here: Known) -> Document:
    """The caller himself, or any for an administrator."""
    if user_id == here.user.id:
        return {"user": user_document(here.user)}
    here.require(Role.ADMIN)
    return {"user": user_document(here.region.users.find(user_id))}


def _project_of(here: InRegion, request: Request) -> ProjectId | None:
    if here.caller.project_id is not None:
        return here.caller.project_id
    # Set after signing by SDKs, so it is never signed: checked like any other project.
    named = request.headers.get("x-project-id")
    if not named:
        # One SDK names the domain instead; there is no doubt where its user has one project.
        if not is_signed(sent_request(request)):
            return None
        own = here.region.identity.projects_of(here.user)
        return own[0].id if len(own) == 1 else None
    project, _roles = here.region.identity.roles_in(here.user, named)
    return project.id
