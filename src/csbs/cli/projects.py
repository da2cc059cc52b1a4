"""`csbs project`: tenants, and who may do what in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from csbs.cli.options import Json, Yes, body, in_region
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
    with in_region(context) as region:
        found = region.projects.list_all()
    rows = [(project.name, project.id) for project in found.projects]
    Output(json).table(found, ("NAME", "ID"), rows)


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
    from csbs.documents.identity import NewProject  # noqa: PLC0415  see cli.options

    new = body(NewProject, name=name)
    with in_region(context, "create_project", name) as region:
        project = region.projects.create(new)
    Output(json).show(project, f"created project {project.name}  {project.id}")


@commands.command("delete")
def delete_project(
    context: typer.Context, project: ProjectName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a project that owns neither servers nor backups, with its empty repository."""
    output = Output(json)
    output.confirm(f"Delete project {project}?", f"the deletion of project {project}", yes=yes)
    with in_region(context, "delete_project", project) as region:
        deleted = region.projects.delete(project)
    output.show(deleted, f"deleted project {deleted.name}")


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
    from csbs.documents.identity import RoleBody  # noqa: PLC0415  see cli.options

    given = body(RoleBody, role=role.value)
    with in_region(context, "set_role", f"{project} {user} {role}") as region:
        region.users.set_role(user, project, given)
    Output(json).show(
        {"project": project, "user": user, "role": role}, f"{user} is {role} of {project}"
    )


@commands.command("revoke")
def revoke_role(
    context: typer.Context, project: ProjectName, user: UserName, *, json: Json = False
) -> None:
    """Take a user's role in a project."""
    with in_region(context, "take_role", f"{project} {user}") as region:
        region.users.take_role(user, project)
    Output(json).show(
        {"project": project, "user": user, "role": None}, f"{user} has no role in {project}"
    )
