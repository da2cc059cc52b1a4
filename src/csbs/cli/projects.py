"""`csbs project`: tenants, and who may do what in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from csbs.cli.options import Json, Yes, changing, opened_region
from csbs.cli.output import Output
from csbs.cli.users import UserName

commands = typer.Typer(help="Projects: list, create, delete, grant, revoke.")

ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help="Id or name of a project.")]


class GrantedRole(StrEnum):
    """What somebody may do in a project."""

    MEMBER = "member"
    READER = "reader"


@commands.command("list")
def list_projects(context: typer.Context, *, json: Json = False) -> None:
    """List all projects."""
    with opened_region(context) as region:
        found = region.projects.list_all()
    Output(json).table(
        {"projects": [{"id": project.id, "name": project.name} for project in found]},
        ("NAME", "ID"),
        [(project.name, project.id) for project in found],
    )


@commands.command("create")
def create_project(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Its name; it begins with that of the region and `_`."),
    ],
    *,
    json: Json = False,
) -> None:
    """Create a project; it owns nothing yet."""
    with changing(context, "create_project", name) as region:
        project = region.projects.create(name)
    Output(json).show(
        {"id": project.id, "name": project.name}, f"created project {project.name}  {project.id}"
    )


@commands.command("delete")
def delete_project(
    context: typer.Context, project: ProjectName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a project that owns neither servers nor backups, with its empty repository."""
    output = Output(json)
    output.confirm(f"Delete project {project}?", f"the deletion of project {project}", yes=yes)
    with changing(context, "delete_project", project) as region:
        deleted = region.projects.delete(project)
    output.show({"deleted": deleted.id}, f"deleted project {deleted.name}")


@commands.command("grant")
def grant_role(
    context: typer.Context,
    project: ProjectName,
    user: UserName,
    *,
    role: Annotated[
        GrantedRole, typer.Option(help="`member` may do everything in it, `reader` look.")
    ] = GrantedRole.MEMBER,
    json: Json = False,
) -> None:
    """Give a user a role in a project, instead of the one he has there."""
    from csbs.domain.tenancy import Role  # noqa: PLC0415  see cli.options

    with changing(context, "set_role", f"{project} {user} {role}") as region:
        region.users.set_role(user, project, Role(role))
    Output(json).show(
        {"project": project, "user": user, "role": role}, f"{user} is {role} of {project}"
    )


@commands.command("revoke")
def revoke_role(
    context: typer.Context, project: ProjectName, user: UserName, *, json: Json = False
) -> None:
    """Take a user's role in a project."""
    with changing(context, "take_role", f"{project} {user}") as region:
        region.users.set_role(user, project, None)
    Output(json).show(
        {"project": project, "user": user, "role": None}, f"{user} has no role in {project}"
    )
