"""`csbs restore`: bringing a server back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.options import BackupName, Json, Yes, body, in_project
from csbs.cli.output import Output, holes_text, size, table
from csbs.domain.rate import parse_rate

if TYPE_CHECKING:
    from csbs.documents.restores import (
        DiskRestoreDocument,
        RestoredDocument,
        RestorePlanDocument,
    )


def restore(
    context: typer.Context,
    backup: BackupName,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Leave the server stopped afterwards.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Compare the disks with the backup, whatever is known of changes."
        ),
    ] = False,
    allow_holes: Annotated[
        bool,
        typer.Option(
            "--allow-holes",
            help="Go on where the backup is damaged: what it has lost is zeroed, and listed.",
        ),
    ] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="Read, compare and write at most so much a second, such as 50MB/s."
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Restore a server's disks from a backup, in place.

    The server is stopped, what differs is written, and it is started. What is on the disks
    now is lost. Where it is not known what differs, the disk is compared with the backup. Ctrl-C
    stops it until the first write; a restore that was interrupted later is finished by the same
    command. A damaged backup is refused; with --allow-holes the rest of it is restored, and the
    exit code is 8.
    """
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.restores import NewRestore  # noqa: PLC0415  see cli.options

    output = Output(json)
    new = body(
        NewRestore,
        power_on=not no_start,
        compare=compare,
        allow_holes=allow_holes,
        limit_bytes_per_s=None if limit is None else parse_rate(limit),
    )
    with in_project(context) as project:
        plan = project.restores.plan(backup)
        if dry_run:
            output.show(plan, _plan_text(plan) + "\nnothing was changed")
            return
        output.say(_plan_text(plan))
        _confirm(output, plan, power_on=not no_start, yes=yes)
        with watched(output) as watcher:
            done = project.restores.restore(plan, new, watcher)
    output.show(done, _done_text(done))
    if done.has_holes:
        raise typer.Exit(EXIT_CODES["damaged"])


def _confirm(output: Output, plan: RestorePlanDocument, *, power_on: bool, yes: bool) -> None:
    server = plan.server.name
    operation = f"restoring server {server}"
    output.confirm(
        f"Stop {server}, overwrite these disks"
        f"{', then start it' if power_on else ''}? What is on them now is lost.",
        operation,
        yes=yes,
    )
    if yes:
        return
    for disk in plan.disks:
        if disk.is_written and disk.by_path_only:
            output.confirm_by_name(
                f"Disk {disk.target} is known by its path only.", disk.target, operation
            )


def _done_text(done: RestoredDocument) -> str:
    state = "started" if done.started else "stopped"
    rows = [
        (
            disk.target,
            size(disk.written_bytes),
            size(disk.zeroed_bytes),
            size(disk.unchanged_bytes),
            _how(disk),
        )
        for disk in done.disks
        if disk.written_bytes is not None
    ]
    text = table(("DISK", "WRITTEN", "ZEROED", "UNCHANGED", "HOW"), rows)
    text = f"restored {done.server.name} from {done.backup.name}; it is {state}\n{text}"
    for disk in done.disks:
        if disk.holes:
            text += f"\n{holes_text(disk.target, disk.holes)}"
    return text


def _plan_text(plan: RestorePlanDocument) -> str:
    rows = [
        (disk.target, disk.action, size(disk.size_bytes), _how(disk), disk.note)
        for disk in plan.disks
    ]
    return f"restore of {plan.server.name} from {plan.backup.name}:\n" + table(
        ("DISK", "ACTION", "SIZE", "HOW", "NOTE"), rows
    )


def _how(disk: DiskRestoreDocument) -> str:
    return f"{disk.way}: {disk.way_reason}" if disk.way else "-"
