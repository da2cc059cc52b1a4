"""The command `csbs`."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from csbs.cli import backup, repository, server, task
from csbs.cli.doctor import doctor
from csbs.cli.exit_codes import DONE, EXIT_CODES, UNEXPECTED, USAGE
from csbs.cli.output import show_error
from csbs.cli.restore import restore
from csbs.domain.errors import CsbsError, Invalid


@dataclass(eq=False)
class Usage(Invalid):
    """The command line makes no sense."""

    command: str
    why: str

    template = "{0.why} (--help shows how to use a command)"


app = typer.Typer(
    name="csbs",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Back up servers that run on QEMU/KVM with libvirt, and bring them back.",
)
app.add_typer(server.commands, name="server")
app.add_typer(backup.commands, name="backup")
app.command("restore")(restore)
app.add_typer(task.commands, name="task")
app.add_typer(repository.commands, name="repository")
app.command("doctor")(doctor)


@app.callback()
def _root(
    context: typer.Context,
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Data folder; else CSBS_DATA_DIR, else /var/lib/csbs (or the user's own).",
        ),
    ] = None,
) -> None:
    context.obj = data_dir


def main() -> None:
    """Runs the command line and exits with a code of `csbs.cli.exit_codes`."""
    logging.basicConfig(level=logging.WARNING, format="csbs: %(message)s", stream=sys.stderr)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code; errors of ours go to standard error."""
    try:
        code = app(arguments or ["--help"], prog_name="csbs", standalone_mode=False)
    except CsbsError as error:
        show_error(error, as_json="--json" in arguments)
        return EXIT_CODES[error.kind]
    except typer.TyperException as error:  # wrong usage
        show_error(Usage("csbs", error.format_message()), as_json="--json" in arguments)
        return USAGE
    except typer.Abort:
        return EXIT_CODES["cancelled"]
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        return UNEXPECTED
    return code if isinstance(code, int) else DONE
