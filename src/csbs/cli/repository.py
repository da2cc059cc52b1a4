"""`csbs repository`: the store of the backups."""

from __future__ import annotations

import typer

from csbs.cli.options import Json, opened
from csbs.cli.output import Output, size
from csbs.cli.repository_keys import keys, recovery_key, rotate_key

commands = typer.Typer(help="The store of the backups: collect what is not needed any more.")
commands.command("keys")(keys)
commands.command("rotate-key")(rotate_key)
commands.command("recovery-key")(recovery_key)


@commands.command("collect")
def collect(context: typer.Context, *, json: Json = False) -> None:
    """Free the space of deleted and failed backups.

    Waits for nobody: while a backup or a restore is at work it is refused.
    """
    from csbs.cli.documents import collect_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        report = app.repositories.collect(_ignore)
    Output(json).show(
        collect_document(report),
        f"freed {size(report.freed_bytes)} in {report.packs_deleted} packs\n"
        f"{size(report.kept_bytes)} in {report.kept_packs} packs stay\n"
        f"of that {size(report.dead_bytes)} are not needed any more, in packs that others need",
    )


def _ignore(_progress: object) -> None:
    """Nothing is drawn."""
