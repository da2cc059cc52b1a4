"""Options that several commands share, and opening the use cases for a command.

Everything heavy is imported when a command runs: `csbs --help` must answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from csbs.services.project_app import App

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ServerName = Annotated[
    str,
    typer.Argument(
        metavar="SERVER", help="Id, unique prefix of 8 or more of it, or unique name of a server."
    ),
]
BackupName = Annotated[
    str,
    typer.Argument(
        metavar="BACKUP", help="Id, unique prefix of 8 or more of it, or unique name of a backup."
    ),
]


def data_dir_of(context: typer.Context) -> Path | None:
    """The data folder that the command line names."""
    chosen: Path | None = context.find_root().obj
    return chosen


@contextmanager
def opened(context: typer.Context) -> Iterator[App]:
    """The use cases over the data folder of this command line."""
    from csbs.app import open_app  # noqa: PLC0415  see above
    from csbs.config import load_settings  # noqa: PLC0415  see above

    with open_app(load_settings(data_dir_of(context))) as app:
        yield app
