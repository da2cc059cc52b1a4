"""`csbs task`: what was executed, how it ended, stopping one, and forgetting what failed."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import Json, opened
from csbs.cli.output import Output, cut, moment, progress_text, short, table

#: What fits beside the rest; `csbs task show` has it all.
_ERROR_SIZE_MAX = 40

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="Id, or unique prefix of 8 or more of it.")
]

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
                moment(task.started_at or task.created_at),
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
    task: TaskName,
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
    if found.note:
        lines.append(found.note)
    if found.error_message:
        lines.append(f"failed: {found.error_message}")
    Output(json).show(task_document(found, steps), "\n".join(filter(None, lines)))


@commands.command("cancel")
def cancel_task(context: typer.Context, task: TaskName, *, json: Json = False) -> None:
    """Stop a task that waits or runs; of a restore only before its first write.

    It ends within seconds: a backup disappears, a restore leaves its server as it was.
    """
    from csbs.cli.documents import task_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found, _ = app.tasks.find(task)
        cancelled = app.tasks.cancel(found.id)
    Output(json).show(
        task_document(cancelled), f"asked {cancelled.kind} of {cancelled.server_name} to stop"
    )


@commands.command("delete")
def delete_task(
    context: typer.Context,
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="A task that failed.")
    ] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All tasks that failed.")] = False,
    json: Json = False,
) -> None:
    """Forget a task that failed, or all of them. Others say what was done, and stay."""
    if failed == (task is not None):
        message = "give a task, or --failed"
        raise typer.BadParameter(message)
    with opened(context) as app:
        if task is None:
            count = app.tasks.delete_failed()
        else:
            found, _ = app.tasks.find(task)
            app.tasks.delete(found.id)
            count = 1
    Output(json).show({"deleted": count}, f"deleted {count} tasks" if count != 1 else "deleted")
