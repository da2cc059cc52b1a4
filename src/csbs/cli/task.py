"""`csbs task`: what was executed, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import Json, opened
from csbs.cli.output import Output, cut, moment, progress_text, short, table

#: What fits beside the rest; `csbs task show` has it all.
_ERROR_SIZE_MAX = 40

commands = typer.Typer(help="Tasks: every backup, restore and deletion.")


@commands.command("list")
def list_tasks(context: typer.Context, *, json: Json = False) -> None:
    """List all tasks, oldest first."""
    from csbs.cli.documents import task_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found = app.tasks.list_all()
    Output(json).table(
        {"tasks": [task_document(task) for task in found]},
        ("KIND", "STATE", "SERVER", "BEGAN", "ENDED", "ID", "ERROR"),
        [
            (
                task.kind,
                task.state,
                task.server_name,
                moment(task.started_at),
                moment(task.ended_at),
                short(task.id),
                cut(task.error_message, _ERROR_SIZE_MAX),
            )
            for task in found
        ],
    )


@commands.command("show")
def show_task(
    context: typer.Context,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="Id, or unique prefix of 8 or more of it.")
    ],
    *,
    json: Json = False,
) -> None:
    """Show one task, with the steps that it went through."""
    from csbs.cli.documents import task_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found, steps = app.tasks.find(task)
    lines = [
        f"{found.kind} of {found.server_name}  {found.state}  {found.id}",
        progress_text(found.done_bytes, found.total_bytes, found.bytes_per_s, found.left_s),
        table(
            ("STEP", "BEGAN", "ENDED"),
            [(step.name, moment(step.began_at), moment(step.ended_at)) for step in steps],
        ),
    ]
    if found.error_message:
        lines.append(f"failed: {found.error_message}")
    Output(json).show(task_document(found, steps), "\n".join(filter(None, lines)))
