"""`csbs user`: who may use the service."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from csbs.cli.options import Json, Yes, body, in_region
from csbs.cli.output import Output, moment, table

commands = typer.Typer(help="Users of the service: list, show, create, set, delete.")

UserName = Annotated[str, typer.Argument(metavar="USER", help="Id or name of a user.")]
PasswordFromStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input; do not ask."),
]


@commands.command("list")
def list_users(context: typer.Context, *, json: Json = False) -> None:
    """List all users."""
    with in_region(context) as region:
        found = region.users.list_all()
    Output(json).table(
        found,
        ("NAME", "ENABLED", "ADMINISTRATOR", "CREATED", "ID"),
        [
            (
                user.name,
                "yes" if user.enabled else "no",
                "yes" if user.is_admin else "no",
                moment(user.created_at),
                user.id,
            )
            for user in found.users
        ],
    )


@commands.command("show")
def show_user(context: typer.Context, user: UserName, *, json: Json = False) -> None:
    """Show a user, with his roles in projects."""
    with in_region(context) as region:
        found = region.users.show(user)
    rights = [
        "may log in" if found.enabled else "may not log in",
        *(["administrator of the region"] if found.is_admin else []),
    ]
    rows = [(each.project.name, str(each.role)) for each in found.roles]
    text = f"{found.name}  {', '.join(rights)}  {found.id}\n{table(('PROJECT', 'ROLE'), rows)}"
    Output(json).show(found, text)


@commands.command("create")
def create_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="How the user is called.")],
    *,
    admin: Annotated[
        bool, typer.Option("--admin", help="Make him an administrator of the region.")
    ] = False,
    password_stdin: PasswordFromStdin = False,
    json: Json = False,
) -> None:
    """Create a user; `csbs project grant` gives him a role in a project."""
    from csbs.documents.identity import NewUser  # noqa: PLC0415  see cli.options

    password = _password(from_stdin=password_stdin)
    new = body(NewUser, name=name, password=password, is_admin=admin)
    with in_region(context, "create_user", name) as region:
        user = region.users.create(new)
    Output(json).show(user, f"created user {user.name}  {user.id}")


@commands.command("set")
def set_user(
    context: typer.Context,
    user: UserName,
    *,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Whether he may log in.")
    ] = None,
    admin: Annotated[
        bool | None,
        typer.Option("--admin/--no-admin", help="Whether he is an administrator of the region."),
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for another password.")] = False,
    password_stdin: PasswordFromStdin = False,
    json: Json = False,
) -> None:
    """Change a user's password or rights; another password ends all his tokens."""
    from csbs.documents.identity import UserChange  # noqa: PLC0415  see cli.options

    new = _password(from_stdin=password_stdin) if password or password_stdin else None
    change = body(UserChange, password=new, enabled=enabled, is_admin=admin)
    with in_region(context, "change_user", user) as region:
        changed = region.users.change(user, change)
    Output(json).show(changed, f"changed user {changed.name}")


@commands.command("delete")
def delete_user(
    context: typer.Context, user: UserName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a user, with his tokens, keys and roles."""
    output = Output(json)
    output.confirm(f"Delete user {user}?", f"the deletion of user {user}", yes=yes)
    with in_region(context, "delete_user", user) as region:
        deleted = region.users.delete(user)
    output.show(deleted, f"deleted user {deleted.name}")


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
