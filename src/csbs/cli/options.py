"""Options that several commands share, and where a command works.

with in_project(context) as project:              servers, backups, tasks ... of one project
with in_region(context, "create_user", name) as region:     users, projects, keys, the trail
with on_host(context) as app:                     what a service does for nobody over the network

The first two give the use cases of `cli.ports`: those of this machine, or of a service that
somebody logged in to.  Everything heavy is imported when a command runs: `csbs --help` must answer
at once.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from csbs.cli.ports import Project, Region
from csbs.domain.errors import Invalid, Refused

if TYPE_CHECKING:
    from csbs.client.profiles import Profile
    from csbs.compute.base import ComputeDriver
    from csbs.documents.base import Body
    from csbs.services.project_app import App

    B = TypeVar("B", bound=Body)

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


@dataclass(eq=False)
class OnlyOnTheHost(Refused):
    """The command needs folders, keys or devices of the host of the service."""

    command: str
    service: str

    template = (
        "`{0.command}` works on the host itself, not on the service at {0.service}: run it there "
        "with --local"
    )


@dataclass(eq=False)
class ArgumentInvalid(Invalid):
    """The value of an argument or option is none."""

    argument: str
    why: str

    template = "{0.argument}: {0.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the command line says of where it works."""

    data_dir: Path | None = None
    local: bool = False
    profile: str | None = None
    project: str | None = None
    #: Tests give one; None: that of the settings.
    driver: ComputeDriver | None = None

    def service(self) -> Profile | None:
        """The service that is meant; None: this machine."""
        if self.local or self.data_dir is not None:
            return None
        from csbs.client.profiles import chosen_profile, told  # noqa: PLC0415  see above

        if self.profile is None and told("DATA_DIR"):
            return None
        return chosen_profile(self.profile)


def where(context: typer.Context) -> Where:
    """See `Where`."""
    chosen = context.find_root().obj
    return chosen if isinstance(chosen, Where) else Where()


def data_dir_of(context: typer.Context) -> Path | None:
    """The data folder that the command line names."""
    return where(context).data_dir


#: Commands on a project that change something, as the audit trail names them.  What users,
#: projects and keys are given says so itself: see `in_region`.  A service keeps its own trail.
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
    "quota set": "change_quotas",
    "policy create": "create_policy",
    "policy set": "change_policy",
    "policy delete": "delete_policy",
    "policy run": "run_policy",
    "policy bind": "bind_servers",
    "policy unbind": "unbind_servers",
    "server tag": "change_server_tags",
    "notification create": "create_notification",
    "notification delete": "delete_notification",
    "notification test": "try_notification",
}


@contextmanager
def in_project(context: typer.Context, project: str | None = None) -> Iterator[Project]:
    """The use cases of a project, here or of the service that is meant.

    `project` is that of the command's own option; else the one of `csbs --project`, else the one
    of the login, or of this machine.
    """
    chosen = where(context)
    profile = chosen.service()
    if profile is not None:
        from csbs.cli.remote import remote_project  # noqa: PLC0415  see above

        with remote_project(profile, project or chosen.project) as remote:
            yield remote
        return
    from csbs.cli.local import local_project  # noqa: PLC0415  see above

    with _app(context, project or chosen.project) as app:
        yield local_project(app)


@contextmanager
def in_region(
    context: typer.Context, action: str | None = None, target: str = ""
) -> Iterator[Region]:
    """The use cases of the region, likewise; `action` on `target` goes into the trail here."""
    profile = where(context).service()
    if profile is not None:
        from csbs.cli.remote import remote_region  # noqa: PLC0415  see above

        with remote_region(profile) as remote:
            yield remote
        return
    from csbs.cli.local import local_region  # noqa: PLC0415  see above
    from csbs.config import load_settings  # noqa: PLC0415  see above
    from csbs.service import open_region  # noqa: PLC0415  see above

    driver = where(context).driver
    with open_region(load_settings(data_dir_of(context)), driver) as region, ExitStack() as audited:
        if action is not None:
            audited.enter_context(region.audit.local(local_user(), action, target))
        yield local_region(region)


@contextmanager
def on_host(context: typer.Context) -> Iterator[App]:
    """The use cases of this machine; raises `OnlyOnTheHost` where a service is meant."""
    require_host(context)
    with _app(context, where(context).project) as app:
        yield app


def require_host(context: typer.Context) -> None:
    """Raises `OnlyOnTheHost` where a service is meant."""
    profile = where(context).service()
    if profile is not None:
        raise OnlyOnTheHost(context.command_path, profile.url)


@contextmanager
def _app(context: typer.Context, project: str | None) -> Iterator[App]:
    """The use cases over the data folder of this command line; a change goes into the trail."""
    from csbs.config import load_settings  # noqa: PLC0415  see above

    settings, driver = load_settings(data_dir_of(context)), where(context).driver
    action = _change(context)
    with ExitStack() as opened:
        if project is None:
            from csbs.app import open_app  # noqa: PLC0415  see above

            app = opened.enter_context(open_app(settings, driver))
        else:
            from csbs.service import open_region  # noqa: PLC0415  see above

            region = opened.enter_context(open_region(settings, driver))
            app = region.project_app(region.projects.find(project).id)
        if action is not None:
            named = _named(context.params)
            opened.enter_context(app.audit.local(local_user(), action, named))
        yield app


def _change(context: typer.Context) -> str | None:
    """What the trail calls the command; None: it changes nothing."""
    action, given = CHANGES.get(context.command_path.partition(" ")[2]), context.params
    only_shows = action == "change_server_tags" and not (given.get("tags") or given.get("remove"))
    return None if only_shows or given.get("dry_run") else action


def _named(parameters: Mapping[str, object]) -> str:
    """What a command is about."""
    names = ("backup", "server", "policy", "notification", "name")
    return str(next((parameters[name] for name in names if parameters.get(name)), ""))


def body(kind: type[B], **fields: object) -> B:
    """What a caller sends, checked as the API checks it.  Raises `ArgumentInvalid`."""
    from pydantic import ValidationError  # noqa: PLC0415  see above

    from csbs.documents.reasons import reason  # noqa: PLC0415  see above

    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ArgumentInvalid(name, reason(first)) from error


def local_user() -> str:
    """Who runs this command, as the machine knows him."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
