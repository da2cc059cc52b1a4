"""`csbs serve`: the service."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import data_dir_of, require_host, where
from csbs.cli.output import Output


def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="Where to listen; else the setting `listen`."),
    ] = None,
) -> None:
    """Run the service of this data folder, until SIGTERM or Ctrl-C.

    Local commands refuse to use the data folder meanwhile.
    """
    from csbs.config import load_settings  # noqa: PLC0415  see cli.options
    from csbs.serving import run_service  # noqa: PLC0415  see cli.options

    if where(context).profile is not None:  # a login in use does not keep anybody from this
        require_host(context)
    run_service(load_settings(data_dir_of(context), listen=listen), Output(as_json=False).say)
