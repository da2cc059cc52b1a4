"""`csbs quota`: what a project may have, and what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, body, in_project
from csbs.cli.output import Output, size, table

if TYPE_CHECKING:
    from csbs.documents.quotas import QuotasDocument

commands = typer.Typer(help="Quotas of a project: show, set.")

ProjectName = Annotated[
    str | None,
    typer.Argument(
        metavar="PROJECT", help="Id or name of a project; else the one that commands are about."
    ),
]
NewLimit = Annotated[int | None, typer.Option(min=-1, help="How many at most; -1: no limit.")]


@commands.command("show")
def show_quotas(context: typer.Context, project: ProjectName = None, *, json: Json = False) -> None:
    """Show what a project may have, and what it has."""
    with in_project(context, project) as found:
        quotas = found.quotas.show()
    Output(json).show(quotas, _text(quotas))


@commands.command("set")
def set_quotas(
    context: typer.Context,
    project: ProjectName = None,
    *,
    backups: NewLimit = None,
    backup_bytes: Annotated[
        int | None,
        typer.Option(min=-1, help="Bytes that all backups together may take; -1: no limit."),
    ] = None,
    policies: NewLimit = None,
    json: Json = False,
) -> None:
    """Set what a project may have; what is not given stays.

    A limit below what there is takes nothing away, and lets nothing be added.
    """
    from csbs.documents.quotas import QuotaChange  # noqa: PLC0415  see cli.options

    if backups is None and backup_bytes is None and policies is None:
        raise typer.BadParameter("give --backups, --backup-bytes or --policies")
    change = body(QuotaChange, backups=backups, backup_bytes=backup_bytes, policies=policies)
    with in_project(context, project) as found:
        quotas = found.quotas.change(change)
    Output(json).show(quotas, _text(quotas))


def _text(quotas: QuotasDocument) -> str:
    def row(name: str, limit: str | None, used: str) -> tuple[str, str, str]:
        return name, "no limit" if limit is None else limit, used

    counts = [
        row(name, None if each.limit is None else str(each.limit), str(each.used))
        for name, each in (("backups", quotas.backups), ("policies", quotas.policies))
    ]
    data = quotas.backup_bytes
    amount = row("data", None if data.limit is None else size(data.limit), size(data.used))
    return table(("QUOTA", "LIMIT", "USED"), [counts[0], amount, counts[1]])
