"""`csbs restore`: bringing a server back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import BackupName, Json, Yes, opened
from csbs.cli.output import Output, size, table

if TYPE_CHECKING:
    from csbs.domain.restore_plan import RestorePlan
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
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Restore a server's disks from a backup, in place.

    The server is stopped, its disks are written, and it is started. What is on the disks
    now is lost. Ctrl-C stops it until the first write; a restore that was interrupted later is
    finished by the same command, which compares the disks and writes what differs.
    """
    from csbs.cli.documents import restore_document, restored_document  # noqa: PLC0415  see cli.options
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options

    output = Output(json)
    with opened(context) as app:
        plan = app.restores.plan(backup)
        if dry_run:
            output.show(restore_document(plan), _plan_text(plan) + "\nnothing was changed")
            return
        output.say(_plan_text(plan))
        _confirm(output, plan, power_on=not no_start, yes=yes)
        with watched(output) as watcher:
            done = app.restores.restore(plan, watcher, power_on=not no_start)
    output.show(restored_document(done, started=not no_start), _done_text(done, no_start=no_start))


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
    backup, results = done.plan.backup, done.results.values()
    state = "stopped" if no_start else "started"
    written = size(sum(each.written_bytes for each in results))
    zeroed = size(sum(each.zeroed_bytes for each in results))
    unchanged = size(sum(each.unchanged_bytes for each in results))
    text = f"restored {backup.server_name} from {backup.name}; it is {state}\n"
    text += f"written {written}, zeroed {zeroed}"
    if done.resumed:
        text += (
            f"; {unchanged} were as in the backup already: an interrupted restore came before, "
            "so the disks were compared"
        )
    return text


def _plan_text(plan: RestorePlan) -> str:
    rows = [(disk.target, disk.action, size(disk.size_bytes), disk.note) for disk in plan.disks]
    return f"restore of {plan.backup.server_name} from {plan.backup.name}:\n" + table(
        ("DISK", "ACTION", "WRITES", "NOTE"), rows
    )
