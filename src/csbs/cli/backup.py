"""`csbs backup`: making, listing and deleting backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.options import BackupName, Json, ServerName, Yes, opened
from csbs.cli.output import Output, holes_text, moment, short, size, table
from csbs.domain.consistency import Consistency
from csbs.domain.rate import parse_rate

if TYPE_CHECKING:
    from csbs.domain.backup import Backup
    from csbs.domain.deletion_plan import DeletionPlan

commands = typer.Typer(help="Backups: create, list, show, delete.")


@commands.command("create")
def create_backup(
    context: typer.Context,
    server: ServerName,
    *,
    name: Annotated[
        str | None, typer.Option(help="Name of the backup; else one is made: manualbk_xxxx.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read all that is allocated, not only what changed.")
    ] = False,
    consistency: Annotated[
        Consistency,
        typer.Option(
            help="What to try for: `filesystem` lets the guest agent freeze the file systems for "
            "the instant, and falls back to `crash` where that is not safe."
        ),
    ] = Consistency.FILESYSTEM,
    limit: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Read at most so much a second, such as 50MB/s."),
    ] = None,
    while_open: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Run a shell command after the copy, while the disks can still be read as they "
            "were: CSBS_EXPORT_<DISK> has each disk's NBD URI. If it fails, so does the backup.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Back up a server with all its disks, as they are at one instant.

    A running server goes on running. The first backup reads all that is allocated, later ones
    what changed. Ctrl-C stops it: the server is let go and no backup is listed.
    """
    from csbs.cli.documents import backup_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.services.look_on import shell_command  # noqa: PLC0415  see cli.options
    from csbs.services.requests import CreateBackup  # noqa: PLC0415  see cli.options

    output = Output(json)
    with opened(context) as app, watched(output) as watcher:
        look_on = None if while_open is None else shell_command(while_open, watcher.cancel)
        request = CreateBackup(
            server=server,
            name=name,
            full=full,
            consistency=consistency,
            limit_bytes_per_s=None if limit is None else parse_rate(limit),
            look_on=look_on,
        )
        backup = app.backups.create(request, watcher)
    output.show(backup_document(backup), _details(backup))


@commands.command("list")
def list_backups(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(metavar="[SERVER]", help="Only backups of this server.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List backups, oldest first."""
    from csbs.cli.documents import backup_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found = app.backups.list_all(server)
    Output(json).table(
        {"backups": [backup_document(backup) for backup in found]},
        ("NAME", "SERVER", "STATUS", "CREATED", "RESTORES", "CHANGED", "STORED", "ID"),
        [
            (
                backup.name,
                backup.server_name,
                backup.state,
                moment(backup.created_at),
                size(backup.restored_bytes),
                size(backup.changed_bytes),
                size(backup.stored_bytes),
                short(backup.id),
            )
            for backup in found
        ],
    )


@commands.command("show")
def show_backup(context: typer.Context, backup: BackupName, *, json: Json = False) -> None:
    """Show one backup: how each disk was read, why, and what it cost."""
    from csbs.cli.documents import backup_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found = app.backups.find(backup)
    Output(json).show(backup_document(found), _details(found))


@commands.command("delete")
def delete_backup(
    context: typer.Context, backup: BackupName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a backup; every other one stays restorable.

    Its space is freed by `csbs repository collect`.
    """
    from csbs.cli.documents import deletion_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options

    output = Output(json)
    with opened(context) as app:
        plan = app.backups.measure_deletion(backup)
        question = f"Delete backup {plan.backup.name} of {plan.backup.server_name} for ever?"
        output.say(_storage("would change", plan))
        output.confirm(question, f"deleting backup {plan.backup.name}", yes=yes)
        with watched(output) as watcher:
            done = app.backups.delete(plan.backup.id, watcher)
    output.show(
        deletion_document(done),
        f"deleted {done.backup.name}; {_storage('changed', done)}\n"
        "`csbs repository collect` frees the space",
    )


@commands.command("export")
def export_backup(
    context: typer.Context,
    backup: BackupName,
    *,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder of the files; made if needed.")
    ],
    image_format: Annotated[
        str, typer.Option("--format", metavar="qcow2|raw", help="Format of the image files.")
    ] = "qcow2",
    disk: Annotated[
        str | None,
        typer.Option(metavar="DISK", help="One disk alone (such as vda, or its id); else all."),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Read and write at most so much a second, as 50MB/s."),
    ] = None,
    allow_holes: Annotated[
        bool,
        typer.Option(
            "--allow-holes",
            help="Where the backup is damaged, write zeroes and list them, instead of nothing.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write a backup's disks as image files, with the definition of the server.

    Nothing of the server is needed, and nothing of it is touched. `virsh define` makes a server of
    the files, on any host. Files that are there are never overwritten; Ctrl-C leaves none. A
    damaged backup is refused; with --allow-holes the rest of it is written, and the exit code is 8.
    """
    from csbs.cli.documents import export_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.services.exports import ExportRequest, image_format_of  # noqa: PLC0415  see cli.options

    out = Output(json)
    request = ExportRequest(
        backup=backup,
        output=output,
        format=image_format_of(image_format),
        disk=disk,
        limit_bytes_per_s=None if limit is None else parse_rate(limit),
        allow_holes=allow_holes,
    )
    with opened(context) as app, watched(out) as watcher:
        done = app.exports.export(request, watcher)
    files = [*(each.path for each in done.disks), done.definition, done.note]
    lines = [f"wrote {file}" for file in files if file]
    lines += [holes_text(each.disk.target, each.holes) for each in done.disks if each.holes]
    out.show(export_document(done), "\n".join(lines))
    if any(each.holes for each in done.disks):
        raise typer.Exit(EXIT_CODES["damaged"])


def _storage(verb: str, plan: DeletionPlan) -> str:
    return (
        f"storage of {plan.backup.server_name} {verb} from {size(plan.storage_before_bytes)} "
        f"to {size(plan.storage_after_bytes)}"
    )


def _details(backup: Backup) -> str:
    rows = [
        (
            disk.target,
            disk.mode,
            size(disk.size_bytes),
            size(disk.read_bytes),
            size(disk.changed_bytes),
            disk.reason,
        )
        for disk in backup.disks
    ]
    lines = [
        f"{backup.name}  {backup.state}  {backup.id}",
        f"server {backup.server_name}, {moment(backup.created_at)}",
        f"consistency: {_consistency(backup)}",
        table(("DISK", "MODE", "SIZE", "READ", "CHANGED", "WHY"), rows),
        (
            f"restores {size(backup.restored_bytes)}, changed {size(backup.changed_bytes)}, "
            f"stored {size(backup.stored_bytes)}"
        ),
    ]
    if backup.fail_reason:
        lines.append(f"failed: {backup.fail_reason}")
    return "\n".join(lines)


def _consistency(backup: Backup) -> str:
    reached = backup.consistency_reached or "none"
    if backup.freeze is not None:
        frozen = backup.freeze
        inside = frozen.frozen_in_guest_ms
        guest = "" if inside is None else f", a writer in the guest waited {inside / 1000:.2f} s"
        return (
            f"{reached} ({frozen.file_systems} file systems frozen for at most "
            f"{frozen.frozen_ms / 1000:.2f} s{guest})"
        )
    if backup.consistency_reason:
        return f"{reached}, not {backup.consistency_asked}: {backup.consistency_reason}"
    return reached
