"""`csbs policy preview`: which backups a policy keeps and removes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, in_project
from csbs.cli.output import Output, moment, size, table

if TYPE_CHECKING:
    from csbs.documents.previews import PreviewDocument

AtDate = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="DATE",
        help="As of this date, such as 2031-05-06 or 2031-05-06T12:00; without a zone it is that "
        "of this machine. Each run until then is taken to end well.",
    ),
]


def preview_policy(
    context: typer.Context,
    policy: Annotated[
        str,
        typer.Argument(metavar="POLICY", help="Id, unique prefix of 8 or more of it, or name."),
    ],
    *,
    at: AtDate = None,
    json: Json = False,
) -> None:
    """Show which backups a policy keeps and removes, why, and what space that gives back.

    Changes nothing. What it removes now goes by itself while `csbs serve` runs.
    """
    instant = None if at is None else _instant(at)
    with in_project(context) as project:
        found = project.policies.preview(policy, instant)
    Output(json).show(found, _text(found))


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter("--at is a date such as 2031-05-06 or 2031-05-06T12:00") from None


def _text(preview: PreviewDocument) -> str:
    rows = [
        (moment(each.created_at), each.server.name, each.backup.name, what, reason)
        for what, verdicts in (("removed", preview.removed), ("kept", preview.kept))
        for each in verdicts
        for reason in ["; ".join(said.detail for said in each.reasons)]
    ]
    left_off = preview.removed_count + preview.kept_count - len(rows)
    lines = [f"{preview.policy.name} at {moment(preview.at)}"]
    if preview.coming_runs:
        lines.append(f"{preview.coming_runs} runs until then are taken to end well")
    lines.append(f"removed: {preview.removed_count}, kept: {preview.kept_count}")
    freed_bytes = preview.storage_before_bytes - preview.storage_after_bytes
    lines.append(
        f"storage of its servers: {size(preview.storage_before_bytes)}, then "
        f"{size(preview.storage_after_bytes)}: {'' if preview.storage_exact else 'at least '}"
        f"{size(freed_bytes)} less"
    )
    if rows:
        lines.append(table(("CREATED", "SERVER", "BACKUP", "IS", "WHY"), rows))
    if left_off:
        lines.append(f"and {left_off} more")
    return "\n".join(lines)
