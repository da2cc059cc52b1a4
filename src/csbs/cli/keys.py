"""`csbs key`: access keys, by which programs sign requests as their user."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import Json, Yes, body, in_region
from csbs.cli.output import Output, moment
from csbs.cli.users import UserName

commands = typer.Typer(help="Access keys (AK/SK) of users: list, create, delete.")


@commands.command("list")
def list_keys(context: typer.Context, user: UserName, *, json: Json = False) -> None:
    """List a user's access keys; their secrets are never shown again."""
    with in_region(context) as region:
        found = region.keys.of_user(user)
    Output(json).table(
        found,
        ("ACCESS KEY", "CREATED", "DESCRIPTION"),
        [(key.id, moment(key.created_at), key.description) for key in found.keys],
    )


@commands.command("create")
def create_key(
    context: typer.Context,
    user: UserName,
    *,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Create an access key, and show its secret, once."""
    from csbs.documents.identity import NewKey  # noqa: PLC0415  see cli.options

    new = body(NewKey, description=description)
    with in_region(context, "create_key", user) as region:
        key = region.keys.create(user, new)
    text = f"access key  {key.id}\nsecret key  {key.secret}  (shown only now)"
    Output(json).show(key, text)


@commands.command("delete")
def delete_key(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The access key.")],
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete an access key: it signs nothing any more."""
    output = Output(json)
    output.confirm(f"Delete access key {key}?", f"the deletion of access key {key}", yes=yes)
    with in_region(context, "delete_key", key) as region:
        deleted = region.keys.delete(key)
    output.show(deleted, f"deleted access key {deleted.name}")
