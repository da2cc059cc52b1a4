"""`csbs doctor`: what of this host fits, and what to do where it does not."""

from __future__ import annotations

import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.options import Json, data_dir_of, require_host, where
from csbs.cli.output import Output


def doctor(context: typer.Context, *, json: Json = False) -> None:
    """Check this host: libvirt, QEMU, folders, rights, space.

    Exits with 7 if something is missing that csbs cannot work without.
    """
    from csbs.app import check_host  # noqa: PLC0415  see cli.options
    from csbs.config import load_settings  # noqa: PLC0415  see cli.options

    if where(context).profile is not None:  # a login in use does not keep anybody from this
        require_host(context)
    checks = check_host(load_settings(data_dir_of(context)))
    marks = {True: "ok  ", False: "FAIL"}
    lines = []
    for check in checks:
        mark = marks[check.ok] if check.required or check.ok else "warn"
        lines.append(f"{mark}  {check.name}: {check.found}")
        if not check.ok and check.advice:
            lines.append(f"      {check.advice}")
    fits = all(check.ok for check in checks if check.required)
    lines.append("this host fits" if fits else "this host does not fit yet")
    Output(json).show(
        {
            "fits": fits,
            "checks": [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "required": check.required,
                    "found": check.found,
                    "advice": check.advice,
                }
                for check in checks
            ],
        },
        "\n".join(lines),
    )
    if not fits:
        raise typer.Exit(EXIT_CODES["unavailable"])
