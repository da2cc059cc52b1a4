"""Writes the reference pages that are made from the code: `make docs`.

command-line.md   from the commands of `csbs.cli.main`
settings.md       from `csbs.config.Settings`
native-api.json   from the routes of `csbs.api.native`
errors.md         from the errors of all rooms, and the exit codes of `csbs.cli.exit_codes`

A meta test compares the pages with what this writes, so they cannot fall behind.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

#: A field of a template, with the blank before it.
_FIELD = re.compile(r" ?\{0\._?(\w+)[^}]*\}")

_MADE = "<!-- Made from the code by `make docs`: change the text there. -->\n"

_COMMAND_LINE = """\
SERVER and BACKUP are an id, a unique prefix of it (8 characters or more), or a unique name. With
`--json` a command prints one JSON document, and an error is a JSON document on stderr. What the
exit codes mean is on the page [errors](errors.md).
"""

_SETTINGS = """\
Each setting is a variable of the environment, or a key of `config.toml` in the data folder; the
variable wins, and an option of the command line wins over both.
"""

_ERRORS = """\
An error is one sentence on stderr that names the object and says what to do. With `--json` it is
`{"error": {"kind": ..., "object": ..., "message": ...}}`. The kind says what a caller can do, and
decides the exit code. Words in *italics* stand for what the sentence names. A command line that
csbs does not understand has the exit code of `invalid`.
"""

#: Alembic loads these by path; fakes and test suites have no errors of the product.
_NOT_SEARCHED = re.compile(r"csbs\.(catalog\.migrations|testing|__main__)\b")


def command_line_page(app: typer.Typer) -> str:
    """Every command, with its arguments and options."""
    root = typer.main.get_command(app)
    parts = ["# Command line\n", _MADE, _COMMAND_LINE]
    parts += [_command_section(path, command) for path, command in commands(root)]
    return "\n".join(parts)


def commands(command: Any, path: str = "csbs") -> Iterator[tuple[str, Any]]:
    """The command and all below it, hidden ones left out, each with its words."""
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from commands(child, f"{path} {name}")


def _command_section(path: str, command: Any) -> str:
    is_group = hasattr(command, "commands")
    usage = [path, "[OPTIONS]"]
    usage += [_argument(each) for each in command.params if each.param_type_name == "argument"]
    usage += ["COMMAND"] if is_group else []
    rows = [_parameter_row(each) for each in command.params if not getattr(each, "hidden", False)]
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    parts = [f"## {path}\n", f"{text}\n", f"```\n{' '.join(usage)}\n```\n"]
    if rows:
        parts.append(_table(("argument or option", "meaning"), rows))
    return "\n".join(parts)


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    several = "..." if parameter.nargs < 0 else ""
    return (name if parameter.required else f"[{name}]") + several


def _parameter_row(parameter: Any) -> tuple[str, str]:
    if parameter.param_type_name == "argument":
        return f"`{_argument(parameter)}`", _one_line(parameter.help or "")
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if not parameter.is_flag:
        names += f" {parameter.metavar or parameter.name.upper()}"
    told = _one_line(parameter.help or "")
    if parameter.show_default and parameter.default not in {None, False, ""}:
        told += f" Default: `{parameter.default}`."
    return names, told


def settings_page(settings: Any) -> str:
    """Every setting, with its variable, type and default."""
    parts = ["# Settings\n", _MADE, _SETTINGS]
    for name, field in settings.model_fields.items():
        variable = f"{settings.model_config.get('env_prefix', '')}{name}".upper()
        # The folder of the file cannot be set in the file: it comes from the command line.
        other = f"--{name.replace('_', '-')}" if field.is_required() else name
        form = f"`{variable}` or `{other}`, {_type(field.annotation)}, {_default(field)}"
        parts += [f"## {name}\n", f"{field.description}\n", f"{form}.\n"]
    return "\n".join(parts)


_TYPES = {
    str: "text",
    Path: "path",
    Path | None: "path",
    int: "whole number",
    float: "number",
    bool: "true or false",
}


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return f"one of {', '.join(f'`{each}`' for each in annotation)}"
    return _TYPES[annotation]


def _default(field: Any) -> str:
    if field.is_required():
        return "default `/var/lib/csbs` for root, else `$XDG_DATA_HOME/csbs`"
    if field.default in {None, ""}:
        return "default empty"
    return f"default `{field.default}`"


def native_api_page() -> str:
    """The OpenAPI document of our own API."""
    document = importlib.import_module("csbs.api.native.room").openapi_document()
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def errors_page(exit_codes: Mapping[str, int]) -> str:
    """Every kind of error with its exit code, and every error with its sentence."""
    parts = [
        "# Errors and exit codes\n",
        _MADE,
        _ERRORS,
        "## Exit codes\n",
        _table(
            ("code", "kind"),
            [("0", "done"), *((str(code), f"`{kind}`") for kind, code in _by_code(exit_codes))],
        ),
    ]
    everything = errors()
    for kind, code in _by_code(exit_codes):
        mine = [each for each in everything if each.kind == kind]
        parts.append(f"## {kind}\n")
        parts.append(f"Exit code {code}. {_meaning(kind, everything)}\n")
        rows = [
            (f"`{each.__name__}`", _sentence(each.template), _one_line(each.__doc__ or ""))
            for each in mine
            if "template" in vars(each) and each.kind != vars(each).get("kind")
        ]
        if rows:
            parts.append(_table(("error", "sentence", "when"), rows))
    return "\n".join(parts)


def errors() -> list[Any]:
    """All classes of errors of all rooms, by name."""
    csbs = importlib.import_module("csbs")
    for module in pkgutil.walk_packages(csbs.__path__, "csbs."):
        if _is_of_the_product(module.name):
            importlib.import_module(module.name)
    root = importlib.import_module("csbs.domain.errors").CsbsError
    found, waiting = {root}, [root]
    while waiting:
        children = set(waiting.pop().__subclasses__()) - found
        found |= children
        waiting += children
    return sorted(
        (each for each in found if _is_of_the_product(each.__module__)),
        key=lambda each: str(each.__name__),
    )


def _is_of_the_product(module: str) -> bool:
    return module.startswith("csbs.") and not _NOT_SEARCHED.match(module)


def _by_code(exit_codes: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(exit_codes.items(), key=lambda item: item[1])


def _meaning(kind: str, everything: list[Any]) -> str:
    """What the class that stands for the kind says of it."""
    own = next(each for each in everything if vars(each).get("kind") == kind)
    return _one_line(own.__doc__ or "")


def _sentence(template: str) -> str:
    """A template with its fields as *words*, in a quoted command as WORDS."""
    parts = _FIELD.sub(r" *\1*", template).split("`")
    parts[1::2] = [re.sub(r"\*(\w+)\*", lambda word: word[1].upper(), part) for part in parts[1::2]]
    return _escaped("`".join(parts).strip())


def _one_line(text: str) -> str:
    """The first paragraph on one line, fit for a cell of a table."""
    return _escaped(" ".join(inspect.cleandoc(text).split("\n\n")[0].split()))


def _escaped(text: str) -> str:
    """As text in a cell of a table: no column, and no tag, begins in it."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def pages() -> dict[str, Callable[[], str]]:
    """What makes each page, by its file name."""
    return {
        "command-line.md": lambda: command_line_page(importlib.import_module("csbs.cli.main").app),
        "settings.md": lambda: settings_page(importlib.import_module("csbs.config").Settings),
        "native-api.json": native_api_page,
        "errors.md": lambda: errors_page(importlib.import_module("csbs.cli.exit_codes").EXIT_CODES),
    }


def main() -> None:
    """Writes all pages."""
    for name, make in pages().items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
