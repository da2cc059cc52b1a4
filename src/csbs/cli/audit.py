"""`csbs audit`: the trail of all changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from csbs.cli.options import Json, in_region
from csbs.cli.output import Output, moment

commands = typer.Typer(help="The audit trail: who did what, when, from where; list, export.")

Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only since then (UTC)."),
]
OfProject = Annotated[
    str | None, typer.Option("--project", help="Only of this project, by id or name.")
]


@commands.command("list")
def list_events(
    context: typer.Context,
    *,
    project: OfProject = None,
    since: Since = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many, of the newest.")] = 50,
    json: Json = False,
) -> None:
    """List the newest changes, oldest first."""
    from collections import deque  # noqa: PLC0415  see cli.options

    from csbs.documents.identity import AuditPage  # noqa: PLC0415  see cli.options

    with in_region(context) as region:
        found = deque(region.trail.events(project, _utc(since)), maxlen=last)
    Output(json).table(
        AuditPage(events=list(found)),
        ("WHEN", "WHO", "FROM", "ACTION", "TARGET", "RESULT"),
        [
            (
                moment(event.at),
                event.user.name,
                event.remote_address or "this machine",
                event.action,
                event.target,
                event.result,
            )
            for event in found
        ],
    )


@commands.command("export")
def export_events(
    context: typer.Context, *, project: OfProject = None, since: Since = None
) -> None:
    """Write all changes to standard output: one JSON object a line, oldest first."""
    output = Output(as_json=True)
    with in_region(context) as region:
        for event in region.trail.events(project, _utc(since)):
            output.line(event)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
