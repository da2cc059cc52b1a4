"""Options that several commands share, and opening the use cases for a command.

Everything heavy is imported when a command runs: `csbs --help` must answer at once.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from csbs.services.project_app import App
    from csbs.services.region import Region

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


#: Commands on a project that change something, as the audit trail names them.  What users,
#: projects and keys are given says so itself: see `changing`.
CHANGES = {
    "backup create": "create_backup",
    "backup delete": "delete_backup",
    "restore": "restore_backup",
    "server start": "start_server",
    "server stop": "stop_server",
    "server set": "change_server",
    "server untrack": "untrack_server",
    "repository init": "make_repository",
    "repository collect": "collect",
    "repository rotate-key": "rotate_key",
    "repository recovery-key": "show_recovery_key",
}


@contextmanager
def opened(context: typer.Context) -> Iterator[App]:
    """The use cases over the data folder of this command line; a change goes into the trail."""
    from csbs.app import open_app  # noqa: PLC0415  see above
    from csbs.config import load_settings  # noqa: PLC0415  see above

    action = CHANGES.get(context.command_path.partition(" ")[2])
    with open_app(load_settings(data_dir_of(context))) as app, ExitStack() as audited:
        if action is not None and not context.params.get("dry_run"):
            named = context.params.get("backup") or context.params.get("server") or ""
            audited.enter_context(app.audit.local(local_user(), action, str(named)))
        yield app


@contextmanager
def opened_region(context: typer.Context) -> Iterator[Region]:
    """Users, projects and keys of the data folder of this command line."""
    from csbs.config import load_settings  # noqa: PLC0415  see above
    from csbs.service import open_region  # noqa: PLC0415  see above

    with open_region(load_settings(data_dir_of(context))) as region:
        yield region


@contextmanager
def changing(context: typer.Context, action: str, target: str) -> Iterator[Region]:
    """As `opened_region`; what the body does goes into the audit trail."""
    with opened_region(context) as region, region.audit.local(local_user(), action, target):
        yield region


def local_user() -> str:
    """Who runs this command, as the machine knows him."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
