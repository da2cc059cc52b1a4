"""`csbs repository`: the store of the backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import DONE, EXIT_CODES
from csbs.cli.options import Json, Yes, data_dir_of, opened
from csbs.cli.output import Output, size

if TYPE_CHECKING:
    from csbs.workflows.rebuild_catalog import RebuildReport

commands = typer.Typer(help="The store of the backups: free its space, rebuild the catalog.")


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


@commands.command("rebuild-catalog")
def rebuild_catalog(
    context: typer.Context,
    *,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Make this data folder the one that may write, in the place of one that is lost. "
            "That one may only read from then on, should it come back.",
        ),
    ] = False,
    project: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Which repository, where the store has several."),
    ] = None,
    delete_damaged: Annotated[
        bool,
        typer.Option(
            "--delete-damaged",
            help="Delete backups whose manifests cannot be read; until then nothing is collected.",
        ),
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Fill the catalog of this data folder from the repository.

    For the day when the catalog is lost, here or with its host. Where the repository belongs to
    another data folder, this one may list, restore and export, unless it takes the repository over.
    What is damaged is named and left out, and the exit code is 8.
    """
    from csbs.app import open_rebuilding  # noqa: PLC0415  see cli.options
    from csbs.cli.documents import rebuild_document  # noqa: PLC0415  see cli.options
    from csbs.config import load_settings  # noqa: PLC0415  see cli.options

    output = Output(json)
    if delete_damaged:
        question = "Delete all backups whose manifests cannot be read, for ever?"
        output.confirm(question, "deleting damaged backups", yes=yes)
    with open_rebuilding(load_settings(data_dir_of(context)), project) as rebuilding:
        report = rebuilding.rebuild(take_over=take_over, delete_damaged=delete_damaged)
    output.show(
        rebuild_document(report), _rebuilt(report, "deleted" if delete_damaged else "left out")
    )
    return EXIT_CODES["damaged"] if report.damaged else DONE


def _rebuilt(report: RebuildReport, done: str) -> str:
    lines = [f"{report.backup_count} backups of {report.server_count} servers are listed"]
    if not report.owned:
        lines.append(
            "the repository belongs to another data folder: this one may list, restore and export "
            "(--take-over makes it the owner)"
        )
    lines += [f"{done}: {each.why}" for each in report.damaged]
    lines += [f"does not count, a former owner was too late: {key}" for key in report.uncounted]
    lines += [f"forgotten, the repository has it no more: {each}" for each in report.forgotten]
    return "\n".join(lines)


def _ignore(_progress: object) -> None:
    """Nothing is drawn."""
