"""`csbs backup`: making, listing and deleting backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.options import (
    BackupName,
    Json,
    ServerName,
    Yes,
    body,
    in_project,
    on_host,
    require_host,
)
from csbs.cli.output import Output, holes_text, moment, short, size, table
from csbs.domain.consistency import Consistency
from csbs.domain.errors import NotFound
from csbs.domain.rate import parse_rate

if TYPE_CHECKING:
    from csbs.cli.ports import Project
    from csbs.documents.backups import (
        BackupDocument,
        ConsistencyDocument,
        DeletionDocument,
        NewBackup,
    )

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
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.backups import NewBackup  # noqa: PLC0415  see cli.options

    output = Output(json)
    new = body(
        NewBackup,
        server=server,
        name=name,
        full=full,
        consistency=consistency,
        limit_bytes_per_s=None if limit is None else parse_rate(limit),
    )
    if while_open is not None:
        backup = _create_looking_on(context, new, while_open, output)
    else:
        with in_project(context) as project, watched(output) as watcher:
            backup = project.backups.create(new, watcher)
    output.show(backup, _details(backup))


def _create_looking_on(
    context: typer.Context, new: NewBackup, command: str, output: Output
) -> BackupDocument:
    """With a command that runs here, so only here."""
    from csbs.cli.local import create_request  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.backups import BackupDocument  # noqa: PLC0415  see cli.options
    from csbs.services.look_on import shell_command  # noqa: PLC0415  see cli.options

    with on_host(context) as app, watched(output) as watcher:
        look_on = shell_command(command, watcher.cancel)
        return BackupDocument.of(
            app.backups.create(create_request(new, look_on), watcher), operator=True
        )


@commands.command("list")
def list_backups(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(metavar="SERVER", help="Only backups of this server.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List backups, oldest first."""
    with in_project(context) as project:
        found = project.backups.list_all(server)
    Output(json).table(
        found,
        ("NAME", "SERVER", "STATUS", "CREATED", "RESTORES", "CHANGED", "STORED", "ID"),
        [
            (
                backup.name,
                backup.server.name,
                backup.status,
                moment(backup.created_at),
                size(backup.restored_bytes),
                size(backup.changed_bytes),
                size(backup.stored_bytes),
                short(backup.id),
            )
            for backup in found.backups
        ],
    )


@commands.command("show")
def show_backup(context: typer.Context, backup: BackupName, *, json: Json = False) -> None:
    """Show one backup: how each disk was read, why, and what it cost."""
    with in_project(context) as project:
        found = project.backups.show(backup)
        origin = "" if json else _origin(project, found)
    Output(json).show(found, _details(found, origin))


@commands.command("delete")
def delete_backup(
    context: typer.Context, backup: BackupName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a backup; every other one stays restorable.

    Its space is freed by `csbs repository collect`.
    """
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options

    output = Output(json)
    with in_project(context) as project:
        plan = project.backups.measure_deletion(backup)
        question = f"Delete backup {plan.backup.name} of {plan.server.name} for ever?"
        output.say(_storage("would change", plan))
        output.confirm(question, f"deleting backup {plan.backup.name}", yes=yes)
        with watched(output) as watcher:
            done = project.backups.delete(plan, watcher)
    output.show(
        done,
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
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.host import ExportDocument  # noqa: PLC0415  see cli.options
    from csbs.services.exports import ExportRequest, image_format_of  # noqa: PLC0415  see cli.options

    require_host(context)
    out = Output(json)
    request = ExportRequest(
        backup=backup,
        output=output,
        format=image_format_of(image_format),
        disk=disk,
        limit_bytes_per_s=None if limit is None else parse_rate(limit),
        allow_holes=allow_holes,
    )
    with on_host(context) as app, watched(out) as watcher:
        done = ExportDocument.of(app.exports.export(request, watcher))
    files = [*(each.file for each in done.disks), done.definition, done.note]
    lines = [f"wrote {file}" for file in files if file]
    lines += [holes_text(each.target, each.holes) for each in done.disks if each.holes]
    out.show(done, "\n".join(lines))
    if any(each.holes for each in done.disks):
        raise typer.Exit(EXIT_CODES["damaged"])


def _storage(verb: str, plan: DeletionDocument) -> str:
    return (
        f"storage of {plan.server.name} {verb} from {size(plan.storage_before_bytes)} "
        f"to {size(plan.storage_after_bytes)}"
    )


def _origin(project: Project, backup: BackupDocument) -> str:
    """Which policy made it; empty: none."""
    if backup.policy_id is None:
        return ""
    how = "by the schedule of" if backup.auto_trigger else "because somebody ran"
    try:
        return f"made {how} policy {project.policies.show(backup.policy_id).name}"
    except NotFound:
        return f"made {how} a policy that was deleted"


def _details(backup: BackupDocument, origin: str = "") -> str:
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
        f"{backup.name}  {backup.status}  {backup.id}",
        f"server {backup.server.name}, {moment(backup.created_at)}",
        *([origin] if origin else []),
        f"consistency: {_consistency(backup.consistency)}",
        table(("DISK", "MODE", "SIZE", "READ", "CHANGED", "WHY"), rows),
        (
            f"restores {size(backup.restored_bytes)}, changed {size(backup.changed_bytes)}, "
            f"stored {size(backup.stored_bytes)}"
        ),
    ]
    if backup.fail_reason:
        lines.append(f"failed: {backup.fail_reason}")
    return "\n".join(lines)


def _consistency(consistency: ConsistencyDocument) -> str:
    reached = consistency.reached or "none"
    if consistency.freeze is not None:
        frozen = consistency.freeze
        inside = frozen.frozen_in_guest_ms
        guest = "" if inside is None else f", a writer in the guest waited {inside / 1000:.2f} s"
        return (
            f"{reached} ({frozen.file_systems} file systems frozen for at most "
            f"{frozen.frozen_ms / 1000:.2f} s{guest})"
        )
    if consistency.reason:
        return f"{reached}, not {consistency.asked}: {consistency.reason}"
    return reached
