"""`csbs task`: what was executed, how it ended, stopping one, and forgetting what failed."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import Json, in_project
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
    with in_project(context) as project:
        found = project.tasks.list_all()
    Output(json).table(
        found,
        ("KIND", "STATE", "SERVER", "BEGAN", "ENDED", "ID", "ERROR"),
        [
            (
                task.kind,
                task.state,
                task.server.name,
                moment(task.started_at or task.created_at),
                moment(task.ended_at),
                short(task.id),
                cut(task.error.message if task.error else "", _ERROR_SIZE_MAX),
            )
            for task in found.tasks
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
    with in_project(context) as project:
        found = project.tasks.show(task)
    lines = [
        f"{found.kind} of {found.server.name}  {found.state}  {found.id}",
        progress_text(found.done_bytes, found.total_bytes, found.bytes_per_s, found.left_s),
        table(
            ("STEP", "BEGAN", "ENDED"),
            [(step.name, moment(step.began_at), moment(step.ended_at)) for step in found.steps],
        ),
    ]
    if found.note:
        lines.append(found.note)
    if found.error is not None:
        lines.append(f"failed: {found.error.message}")
    Output(json).show(found, "\n".join(filter(None, lines)))


@commands.command("cancel")
def cancel_task(context: typer.Context, task: TaskName, *, json: Json = False) -> None:
    """Stop a task that waits or runs; of a restore only before its first write.

    It ends within seconds: a backup disappears, a restore leaves its server as it was.
    """
    with in_project(context) as project:
        asked = project.tasks.cancel(task)
    Output(json).show(asked, f"asked {asked.kind} of {asked.server.name} to stop")


@commands.command("delete")
def delete_task(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="A task that failed.")] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All tasks that failed.")] = False,
    json: Json = False,
) -> None:
    """Forget a task that failed, or all of them. Others say what was done, and stay."""
    if failed == (task is not None):
        message = "give a task, or --failed"
        raise typer.BadParameter(message)
    with in_project(context) as project:
        done = project.tasks.delete_failed() if task is None else project.tasks.delete(task)
    count = done.deleted
    Output(json).show(done, f"deleted {count} tasks" if count != 1 else "deleted")
