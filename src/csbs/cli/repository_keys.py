"""`csbs repository keys`, `rotate-key`, `recovery-key`: who can read an encrypted repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, Yes, on_host, require_host
from csbs.cli.output import Output

if TYPE_CHECKING:
    from csbs.documents.host import KeyRingDocument


def keys(context: typer.Context, *, json: Json = False) -> None:
    """Show the key ring: which keys there are, since when, and what opens them.

    Needs no key.
    """
    from csbs.documents.host import KeyRingDocument  # noqa: PLC0415  see cli.options

    with on_host(context) as app:
        found = app.keys.ring()
        waits = app.keys.recovery_key_waits(found)
    ring = KeyRingDocument.of(found, recovery_key_waits=waits)
    output = Output(json)
    output.table(
        ring,
        ("USE", "SINCE", "KEY"),
        [
            *((each.use, each.since, each.id) for each in ring.keys),
            ("wrapped by region", ring.region_key.since, ring.region_key.id),
            ("wrapped by recovery", ring.recovery_key.since, ring.recovery_key.id),
        ],
    )
    if waits:
        output.say(_WAITS)


_WAITS = "the recovery key is still on this machine: `csbs repository recovery-key` shows it, once"


def rotate_key(
    context: typer.Context,
    *,
    region: Annotated[
        bool,
        typer.Option("--region", help="A new region key; the file of the old one opens nothing."),
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="A new data key, for what is stored from now on.")
    ] = False,
    recovery: Annotated[
        bool,
        typer.Option("--recovery", help="A new recovery key; the old one opens nothing."),
    ] = False,
    json: Json = False,
) -> None:
    """Put a new key in the place of one of an encrypted repository.

    No backup is written anew, and all of them restore as before. Waits for nobody: while a backup
    or a restore is at work it is refused.
    """
    from csbs.documents.host import KeyRingDocument  # noqa: PLC0415  see cli.options
    from csbs.repository import Rotation  # noqa: PLC0415  see cli.options

    chosen = [
        what
        for what, wanted in zip(
            (Rotation.REGION, Rotation.DATA, Rotation.RECOVERY),
            (region, data, recovery),
            strict=True,
        )
        if wanted
    ]
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --region, --data, --recovery")
    with on_host(context) as app:
        turned = app.keys.rotate(chosen[0])
        waits = app.keys.recovery_key_waits(turned)
    ring = KeyRingDocument.of(turned, recovery_key_waits=waits)
    Output(json).show(ring, _told(ring, chosen[0], waits=waits))


def _told(ring: KeyRingDocument, what: str, *, waits: bool) -> str:
    key_ids = {
        "region": ring.region_key.id,
        "recovery": ring.recovery_key.id,
        "data": ring.keys[-1].id,
    }
    told = f"the {what} key is {key_ids[what]} now"
    if what == "region":
        told += "; copy its file to where you keep it"
    return f"{told}\n{_WAITS}" if waits else told


def recovery_key(context: typer.Context, *, yes: Yes = False) -> None:
    """Show the recovery key of the repository, once, and take it from this machine.

    Write it down: with it, and nothing else, the repository can be opened when the region key is
    lost. Put it into a file and name that by `recovery_key_file`.
    """
    require_host(context)
    output = Output(as_json=False)
    output.confirm("It will not be shown again. Show it?", "recovery-key", yes=yes)
    with on_host(context) as app:
        app.keys.hand_over_recovery_key(output.say)
