"""`csbs repository`: the store of the backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import DONE, EXIT_CODES
from csbs.cli.options import Json, Yes, body, data_dir_of, in_project, on_host, require_host
from csbs.cli.output import Output, ranges_text, size
from csbs.cli.repository_keys import keys, recovery_key, rotate_key

if TYPE_CHECKING:
    from csbs.documents.host import RebuildDocument
    from csbs.documents.repository import (
        DamagedBackupDocument,
        RepositoryDocument,
        VerifyDocument,
    )

commands = typer.Typer(
    help="The store of the backups: make it, show it, copy it, verify it, free its space."
)
commands.command("keys")(keys)
commands.command("rotate-key")(rotate_key)
commands.command("recovery-key")(recovery_key)


@commands.command("init")
def init(context: typer.Context, *, json: Json = False) -> None:
    """Make the repository, where there is none; the first backup does so too.

    Shows early whether the store, its keys and its rights are good.
    """
    with in_project(context) as project:
        found = project.repository.init()
    Output(json).show(found, _text(found))


@commands.command("show")
def show(context: typer.Context, *, json: Json = False) -> None:
    """Show where the repository is, and what is in it."""
    with in_project(context) as project:
        found = project.repository.show()
    Output(json).show(found, _text(found))


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
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.host import MirrorDocument  # noqa: PLC0415  see cli.options

    output = Output(json)
    with on_host(context) as app, watched(output) as watcher:
        report = MirrorDocument.of(app.stores.copy(target, watcher))
    output.show(
        report,
        f"copied {size(report.copied_bytes)} in {report.copied_objects} objects; "
        f"{report.present_objects} were there already",
    )


@commands.command("collect")
def collect(context: typer.Context, *, json: Json = False) -> None:
    """Free the space of deleted and failed backups.

    Waits for nobody: while a backup or a restore is at work it is refused. Ctrl-C stops it; what
    was freed is free.
    """
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options

    output = Output(json)
    with in_project(context) as project, watched(output, "freeing space") as watcher:
        report = project.repository.collect(watcher)
    output.show(
        report,
        f"freed {size(report.freed_bytes)} in {report.packs_deleted} packs\n"
        f"{size(report.kept_bytes)} in {report.kept_packs} packs stay\n"
        f"of that {size(report.dead_bytes)} are not needed any more, in packs that others need",
    )


@commands.command("verify")
def verify(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Read all bytes of all packs, and decode every block.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="N/T",
            help="Read all bytes of one of T shares of the packs: 1/7 today, 2/7 tomorrow ...",
        ),
    ] = None,
    without_keys: Annotated[
        bool,
        typer.Option(
            "--without-keys",
            help="Hold whole packs against their own checks, and nothing else: no key is needed.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check that all is in the store that backups need, and that it is what was written.

    Without options it reads the structure: config, owners, manifests, maps, and the footers of
    packs. What is damaged is named by backup, disk and range, and the exit code is 8. The next
    backup of each server stores anew what its disks still have of it. Runs beside backups and
    restores. Ctrl-C stops it.
    """
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.repository import NewVerification  # noqa: PLC0415  see cli.options

    if everything and share is not None:
        raise typer.BadParameter("--all and --share exclude each other")
    new = body(NewVerification, everything=everything, share=share, without_keys=without_keys)
    output = Output(json)
    with in_project(context) as project, watched(output, "waiting for the store") as watcher:
        done = project.repository.verify(new, watcher)
    output.show(done, _verified_text(done))
    if done.damaged:
        raise typer.Exit(EXIT_CODES["damaged"])


def _verified_text(done: VerifyDocument) -> str:
    checked = f"checked {done.backups_checked} backups and {done.packs_checked} packs"
    lines = [f"{checked}; read all bytes of {done.packs_read} ({size(done.read_bytes)})"]
    if not done.damaged:
        return "\n".join([*lines, "no damage was found"])
    lines += [f"damaged: {each.why}" for each in done.objects]
    if done.objects_left_off:
        lines.append(f"and {done.objects_left_off} objects more")
    lines += [f"put back, it is whole again: {key}" for key in done.mended]
    for backup in done.backups:
        lines += _damaged_text(backup)
    if done.map_nodes_read and not done.backups:
        lines.append("no block of a backup is known to be lost")
    if not done.kept:
        lines.append(
            "this could not be kept: backups will not heal it before the next verification"
        )
    return "\n".join(lines)


def _damaged_text(backup: DamagedBackupDocument) -> list[str]:
    name = f"backup {backup.name or backup.id} ({backup.id}) of server {backup.server.name}"
    if not backup.disks:
        return [f"{name} is lost: {backup.why}"]
    lines = [f"{name} has lost:"]
    for disk in backup.disks:
        lines.append(f"disk {disk.target or disk.id}: {size(disk.lost_bytes)}")
        lines.append(ranges_text(disk.ranges))
        if disk.ranges_left_off:
            lines.append(f"  and {disk.ranges_left_off} ranges that no report lists")
    return lines


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
    from csbs.config import load_settings  # noqa: PLC0415  see cli.options
    from csbs.documents.host import RebuildDocument  # noqa: PLC0415  see cli.options

    require_host(context)
    output = Output(json)
    if delete_damaged:
        question = "Delete all backups whose manifests cannot be read, for ever?"
        output.confirm(question, "deleting damaged backups", yes=yes)
    with open_rebuilding(load_settings(data_dir_of(context)), project) as rebuilding:
        done = rebuilding.rebuild(take_over=take_over, delete_damaged=delete_damaged)
    report = RebuildDocument.of(done)
    output.show(report, _rebuilt(report, "deleted" if delete_damaged else "left out"))
    return EXIT_CODES["damaged"] if report.damaged else DONE


def _rebuilt(report: RebuildDocument, done: str) -> str:
    lines = [f"{report.backups} backups of {report.servers} servers are listed"]
    if not report.owned:
        lines.append(
            "the repository belongs to another data folder: this one may list, restore and export "
            "(--take-over makes it the owner)"
        )
    lines += [f"{done}: {each.why}" for each in report.damaged]
    lines += [f"does not count, a former owner was too late: {key}" for key in report.uncounted]
    lines += [f"forgotten, the repository has it no more: {each}" for each in report.forgotten]
    return "\n".join(lines)


def _text(found: RepositoryDocument) -> str:
    return (
        f"repository {found.id}, format {found.format}\n"
        f"at {found.place}\n"
        f"made {found.created_at}, owned by catalog {found.owner or 'of nobody'}\n"
        f"{found.backups} backups, {size(found.stored_bytes)} in {found.packs} packs"
    )
