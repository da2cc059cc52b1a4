"""`csbs repository`: the store of the backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, opened
from csbs.cli.output import Output, size

if TYPE_CHECKING:
    from csbs.repository import RepositoryDescription

commands = typer.Typer(help="The store of the backups: make it, show it, copy it, free space.")


@commands.command("init")
def init(context: typer.Context, *, json: Json = False) -> None:
    """Make the repository, where there is none; the first backup does so too.

    Shows early whether the store, its keys and its rights are good.
    """
    with opened(context) as app:
        _show(app.stores.init(), json=json)


@commands.command("show")
def show(context: typer.Context, *, json: Json = False) -> None:
    """Show where the repository is, and what is in it."""
    with opened(context) as app:
        _show(app.stores.show(), json=json)


@commands.command("copy")
def copy(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="URL", help="Another store, written like `store_url`.")
    ],
    *,
    json: Json = False,
) -> None:
    """Copy the whole repository to another store; repeated, it copies what is new.

    Needs no keys of the repository. With URL as `store_url` the copy can be used as it is.
    """
    from csbs.cli.documents import mirror_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  likewise

    output = Output(json)
    with opened(context) as app, watched(output) as watcher:
        report = app.stores.copy(target, watcher)
    output.show(
        mirror_document(report),
        f"copied {size(report.copied_bytes)} in {report.copied_objects} objects; "
        f"{report.present_objects} were there already",
    )


@commands.command("collect")
def collect(context: typer.Context, *, json: Json = False) -> None:
    """Free the space of deleted and failed backups.

    Waits for nobody: while a backup or a restore is at work it is refused.
    """
    from csbs.cli.documents import collect_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        report = app.repositories.collect(_ignore)
    Output(json).show(
        collect_document(report),
        f"freed {size(report.freed_bytes)} in {report.packs_deleted} packs\n"
        f"{size(report.kept_bytes)} in {report.kept_packs} packs stay\n"
        f"of that {size(report.dead_bytes)} are not needed any more, in packs that others need",
    )


def _show(found: RepositoryDescription, *, json: bool) -> None:
    from csbs.cli.documents import repository_document  # noqa: PLC0415  see cli.options

    Output(json).show(
        repository_document(found),
        f"repository {found.repository_id}, format {found.format}\n"
        f"at {found.name}\n"
        f"made {found.created_at}, owned by catalog {found.owner or 'of nobody'}\n"
        f"{found.backups} backups, {size(found.stored_bytes)} in {found.packs} packs",
    )


def _ignore(_progress: object) -> None:
    """Nothing is drawn."""
