"""The region: its projects, which servers belong to them, and the trail of all changes."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BeforeValidator

from csbs.api.context import Administers, Known
from csbs.api.native.paging import LIMIT_DEFAULT, After, Limit, next_by_name
from csbs.documents.base import Reference
from csbs.documents.identity import (
    Assignment,
    AuditDocument,
    AuditPage,
    Health,
    NewProject,
    ProjectDocument,
    ProjectPage,
    ServerAssignment,
)

router = APIRouter(tags=["region"])

ProjectName = Annotated[str, Path(max_length=64, description="Id or name of a project.")]
ServerName = Annotated[
    str,
    Path(max_length=255, description="Id, unique prefix of 8 or more, or unique name of a server."),
]
AfterEvent = Annotated[int, Query(ge=0, le=2**62, description="Number of the last event seen.")]


def _only_rfc3339(text: object) -> object:
    """Pydantic would take numbers too."""
    if isinstance(text, str) and not _RFC3339.match(text):
        raise ValueError("is not like 2026-01-31T08:00:00Z")
    return text


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]")
Since = Annotated[
    AwareDatetime | None,
    BeforeValidator(_only_rfc3339),
    Query(description="Only since then."),
]


@router.get("/health")
def show_health(here: Known, request: Request) -> Health:
    """What this service is; whether it is well says `/readyz`, without a login."""
    return Health(region=here.region.name, version=request.app.version)


@router.get("/projects")
def list_projects(here: Known, after: After = "", limit: Limit = LIMIT_DEFAULT) -> ProjectPage:
    """Projects where the caller has a role, by name; all for an administrator."""
    page = here.region.identity.page_of_projects(here.user, after, limit)
    projects = [ProjectDocument.of(each) for each in page.rows]
    return ProjectPage(projects=projects, next=next_by_name(page))


@router.post("/projects", status_code=201)
def create_project(body: NewProject, here: Administers) -> ProjectDocument:
    """Makes a project."""
    return ProjectDocument.of(here.region.projects.create(body.name))


@router.delete("/projects/{project}", status_code=204)
def delete_project(project: ProjectName, here: Administers) -> None:
    """Deletes a project that owns nothing, with its empty repository."""
    here.region.projects.delete(project)


@router.put("/servers/{server}/project")
def assign_server(server: ServerName, body: Assignment, here: Administers) -> ServerAssignment:
    """Assigns a server to a project, while it has no backups in another."""
    found, project = here.region.assignments.assign(server, body.project)
    return ServerAssignment(
        server=Reference(id=found.id, name=found.name),
        project=Reference(id=project.id, name=project.name),
    )


@router.get("/audit")
def list_all_changes(
    here: Administers, after: AfterEvent = 0, limit: Limit = LIMIT_DEFAULT, since: Since = None
) -> AuditPage:
    """Changes in the whole region, oldest first."""
    events = here.region.audit.page(None, after=after, limit=limit, since=since)
    return AuditPage(events=[AuditDocument.of(each) for each in events])
