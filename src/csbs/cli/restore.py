"""`csbs restore`: bringing a server back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.options import BackupName, Json, Yes, opened
from csbs.cli.output import Output, holes_text, size, table
from csbs.domain.rate import parse_rate

if TYPE_CHECKING:
    from csbs.domain.restore_plan import DiskRestore, RestorePlan
    from csbs.services.restores import RestoreDone


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
    from csbs.cli.documents import restore_document, restored_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.services.requests import RestoreRequest  # noqa: PLC0415  see cli.options

    output = Output(json)
    request = RestoreRequest(
        power_on=not no_start,
        compare=compare,
        allow_holes=allow_holes,
        limit_bytes_per_s=None if limit is None else parse_rate(limit),
    )
    with opened(context) as app:
        plan = app.restores.plan(backup)
        if dry_run:
            output.show(restore_document(plan), _plan_text(plan) + "\nnothing was changed")
            return
        output.say(_plan_text(plan))
        _confirm(output, plan, power_on=not no_start, yes=yes)
        with watched(output) as watcher:
            done = app.restores.restore(plan, watcher, request)
    output.show(restored_document(done, started=not no_start), _done_text(done, no_start=no_start))
    if done.holes:
        raise typer.Exit(EXIT_CODES["damaged"])


def _confirm(output: Output, plan: RestorePlan, *, power_on: bool, yes: bool) -> None:
    server = plan.backup.server_name
    operation = f"restoring server {server}"
    output.confirm(
        f"Stop {server}, overwrite these disks"
        f"{', then start it' if power_on else ''}? What is on them now is lost.",
        operation,
        yes=yes,
    )
    if yes:
        return
    for disk in plan.written:
        if disk.by_path_only:
            output.confirm_by_name(
                f"Disk {disk.target} is known by its path only.", disk.target, operation
            )


def _done_text(done: RestoreDone, *, no_start: bool) -> str:
    backup = done.plan.backup
    state = "stopped" if no_start else "started"
    rows = [
        (
            disk.target,
            size(result.written_bytes),
            size(result.zeroed_bytes),
            size(result.unchanged_bytes),
            _how(disk),
        )
        for disk in done.plan.written
        if (result := done.results.get(disk.target)) is not None
    ]
    text = table(("DISK", "WRITTEN", "ZEROED", "UNCHANGED", "HOW"), rows)
    text = f"restored {backup.server_name} from {backup.name}; it is {state}\n{text}"
    for target, ranges in done.holes.items():
        text += f"\n{holes_text(target, ranges)}"
    return text


def _plan_text(plan: RestorePlan) -> str:
    rows = [
        (disk.target, disk.action, size(disk.size_bytes), _how(disk), disk.note)
        for disk in plan.disks
    ]
    return f"restore of {plan.backup.server_name} from {plan.backup.name}:\n" + table(
        ("DISK", "ACTION", "SIZE", "HOW", "NOTE"), rows
    )


def _how(disk: DiskRestore) -> str:
    return f"{disk.way}: {disk.way_reason}" if disk.way else "-"
