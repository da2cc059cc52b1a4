"""The command `csbs`."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli import audit, backup, keys, policy, projects, quota, repository, server, task, users
from csbs.cli.doctor import doctor
from csbs.cli.exit_codes import DONE, EXIT_CODES, UNEXPECTED, USAGE
from csbs.cli.login import commands as profiles
from csbs.cli.login import login, logout
from csbs.cli.notification import events, notifications, show_rpo
from csbs.cli.options import Where
from csbs.cli.output import Output, show_error
from csbs.cli.restore import restore
from csbs.cli.serve import serve
from csbs.domain.errors import CsbsError, Invalid, Unavailable

if TYPE_CHECKING:
    from csbs.compute.base import ComputeDriver


@dataclass(eq=False)
class Usage(Invalid):
    """The command line makes no sense."""

    command: str
    why: str

    template = "{0.why} (--help shows how to use a command)"


@dataclass(eq=False)
class ModuleMissing(Unavailable):
    """A Python module that comes with the host's packages is not there."""

    module: str

    template = (
        "the Python module {0.module} is missing: `make setup` links nbd and libvirt, which Debian "
        "has in python3-libnbd and python3-libvirt, and installs all others"
    )


app = typer.Typer(
    name="csbs",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Back up servers that run on QEMU/KVM with libvirt, and bring them back.",
)
app.add_typer(server.commands, name="server")
app.add_typer(backup.commands, name="backup")
app.command("restore")(restore)
app.add_typer(task.commands, name="task")
app.add_typer(policy.commands, name="policy")
app.add_typer(quota.commands, name="quota")
app.command("rpo")(show_rpo)
app.add_typer(events, name="event")
app.add_typer(notifications, name="notification")
app.add_typer(repository.commands, name="repository")
app.add_typer(users.commands, name="user")
app.add_typer(projects.commands, name="project")
app.add_typer(keys.commands, name="key")
app.add_typer(audit.commands, name="audit")
app.command("login")(login)
app.command("logout")(logout)
app.add_typer(profiles, name="profile")
app.command("doctor")(doctor)
app.command("serve")(serve)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  typer passes it by position
    if wanted:
        Output(as_json=False).say(f"csbs {metadata.version('csbs')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Data folder; else CSBS_DATA_DIR, else /var/lib/csbs (or the user's own). Work "
            "here, as with --local.",
        ),
    ] = None,
    local: Annotated[
        bool,
        typer.Option("--local", help="Work on this machine, whatever service was logged in to."),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            envvar="CSBS_PROFILE",
            show_envvar=False,
            help="Work on the service of this login; else CSBS_PROFILE, else the one in use.",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="PROJECT",
            help="Id or name of a project; else that of the login, or of this machine.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    context.obj = Where(
        data_dir=data_dir, local=local, profile=profile, project=project, driver=context.obj
    )


def main() -> None:
    """Runs the command line and exits with a code of `csbs.cli.exit_codes`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names in Chinese, on a terminal that has none
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Fields("csbs: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    sys.exit(run(sys.argv[1:]))


class _Fields(logging.Formatter):
    """A record's sentence, with the fields that its `extra` has."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = record.__dict__.keys() - _USUAL_FIELDS
        told = [f"{name} {record.__dict__[name]}" for name in sorted(fields)]
        return super().format(record) + (f" ({', '.join(told)})" if told else "")


#: `message` is made by formatting itself.
_USUAL_FIELDS = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}


def run(arguments: list[str], driver: ComputeDriver | None = None) -> int:
    """Runs one command line and returns its exit code; errors of ours go to standard error.

    Tests give a `driver` of their own, for what works on this machine.
    """
    try:
        code = app(arguments or ["--help"], prog_name="csbs", standalone_mode=False, obj=driver)
    except CsbsError as error:
        show_error(error, as_json="--json" in arguments)
        return EXIT_CODES[error.kind]
    except typer.TyperException as error:  # wrong usage
        show_error(Usage("csbs", error.format_message()), as_json="--json" in arguments)
        return USAGE
    except ModuleNotFoundError as error:
        show_error(ModuleMissing(error.name or str(error)), as_json="--json" in arguments)
        return EXIT_CODES["unavailable"]
    except typer.Abort:
        return EXIT_CODES["cancelled"]
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        return UNEXPECTED
    return code if isinstance(code, int) else DONE
