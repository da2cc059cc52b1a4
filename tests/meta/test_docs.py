"""The documents say what is there: commands, settings, errors, tests, files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from csbs.cli.exit_codes import EXIT_CODES
from csbs.cli.main import app
from csbs.config import Settings
from tests.meta.markdown import anchors, headings, links, shell_lines, table, text_of
from tests.meta.tree import ROOT, files, name_of, pages, python_files
from tools import reference

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

#: Hosts of package registries, and folders of one machine, spelled so that this file has none.
FOREIGN_PLACES = re.compile(
    r"//[\w.]*(?:pypi\.(?:org|python)|pythonhosted\.org|debian\.(?:org|net)|registry\.npmjs)"
    r"|(?<![\w.)])/" + r"work/"
)

COMMANDS: dict[str, Any] = dict(reference.commands(typer.main.get_command(app)))


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- reference pages --------------------------------------------------------------------------


@pytest.mark.parametrize("name", reference.pages())
def test_a_page_made_from_the_code_is_in_step(name: str) -> None:
    made = reference.pages()[name]()

    assert made == (REFERENCE / name).read_text(encoding="utf-8"), "run `make docs`"


def test_every_command_has_its_heading_and_its_options() -> None:
    page = REFERENCE / "command-line.md"
    texts = re.split(r"^#+ .*$", text_of(page), flags=re.MULTILINE)
    sections = dict(zip(headings(page), texts[1:], strict=True))
    missing = [
        f"{path} {name}"
        for path, command in COMMANDS.items()
        for parameter in command.params
        if parameter.param_type_name == "option" and "completion" not in parameter.name
        for name in parameter.opts
        if f"`{name}`" not in sections[path] and name != "--help"
    ]

    assert missing == []


def test_every_command_option_and_setting_says_what_it_is_for() -> None:
    silent = [path for path, command in COMMANDS.items() if not command.help]
    silent += [
        f"{path}: {parameter.name}"
        for path, command in COMMANDS.items()
        for parameter in command.params
        if not parameter.help
    ]
    silent += [name for name, field in Settings.model_fields.items() if not field.description]

    assert silent == []


def test_every_setting_has_its_heading() -> None:
    assert set(Settings.model_fields) <= set(headings(REFERENCE / "settings.md"))


def test_every_kind_of_error_has_its_exit_code_and_its_heading() -> None:
    kinds = {each.kind for each in reference.errors()}

    assert kinds == set(EXIT_CODES)
    assert kinds <= set(headings(REFERENCE / "errors.md"))


def test_every_exit_code_has_one_kind() -> None:
    codes = {kind: code for kind, code in EXIT_CODES.items() if code}

    assert sorted(codes) == sorted({code: kind for kind, code in codes.items()}.values())


# --- what a reader types ----------------------------------------------------------------------


def _problem_of(line: str) -> str:
    """Why `csbs` would not take this line; empty if it would."""
    words = line.split()
    path, options = "csbs", [word.split("=")[0] for word in words if word.startswith("--")]
    for word in words[1:]:
        if f"{path} {word}" in COMMANDS:
            path = f"{path} {word}"
    if hasattr(COMMANDS[path], "commands") and "--help" not in options:
        return f"{path} needs a command"
    ancestors = [COMMANDS[path], COMMANDS["csbs"]]
    known = {
        name
        for command in ancestors
        for each in command.params
        for name in (*each.opts, *each.secondary_opts)
    }
    return ", ".join(f"{path} has no {name}" for name in options if name not in known | {"--help"})


def test_the_commands_in_the_documents_exist() -> None:
    wrong = [
        f"{name_of(page)}: {line}: {_problem_of(part)}"
        for page in pages()
        for line in shell_lines(page)
        for part in re.findall(r"(?:^|[|;&] *)(?:sudo )?(?:\.venv/bin/)?(csbs(?: [^|;&#]*)?)", line)
        if _problem_of(part)
    ]

    assert wrong == []


def _make_targets() -> dict[str, str]:
    """Targets of the Makefile that are for people, with their help."""
    return dict(re.findall(r"^([a-z0-9-]+):.*?## (.+)$", _text("Makefile"), flags=re.MULTILINE))


def test_the_targets_in_the_documents_exist_and_have_help() -> None:
    named = {
        (name_of(page), target)
        for page in pages()
        for target in re.findall(r"\bmake ([a-z0-9-]+)`", page.read_text(encoding="utf-8"))
    }
    named |= {
        (name_of(page), line.split()[1])
        for page in pages()
        for line in shell_lines(page)
        if line.startswith("make ")
    }

    assert sorted((page, target) for page, target in named if target not in _make_targets()) == []


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_of_the_readme_are_what_ci_runs(target: str) -> None:
    assert f"make {target}" in list(shell_lines(ROOT / "README.md"))
    assert re.search(rf"^timed \S+ make {target}$", _text(".ci/run"), flags=re.MULTILINE)


# --- what the documents point at --------------------------------------------------------------


def _is_there(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_every_relative_link_leads_somewhere() -> None:
    dead = [
        f"{name_of(page)}: {link}"
        for page in pages()
        for link in links(page)
        if "://" not in link and not _is_there(page, link)
    ]

    assert dead == []


def test_every_page_is_reached_from_the_index() -> None:
    seen, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        near = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        waiting += [each for each in near - seen if each.suffix == ".md" and each.is_file()]

    assert [name_of(page) for page in pages() if DOCS in page.parents and page not in seen] == []


def test_the_pages_that_the_code_names_exist() -> None:
    named = [
        (name_of(path), *found)
        for path in python_files("src", "demo")
        for found in re.findall(
            r'(docs/[\w/.-]+\.md)(?:,\s+"([^"]+)")?', path.read_text(encoding="utf-8")
        )
    ]
    wrong = [
        (path, page, title)
        for path, page, title in named
        if not (ROOT / page).is_file() or (title and not _has_heading(ROOT / page, title))
    ]

    assert wrong == []


def _has_heading(page: Path, title: str) -> bool:
    return title in headings(page) or f"`{title}" in page.read_text(encoding="utf-8")


def test_the_sections_of_the_faq_that_the_code_cites_are_restated() -> None:
    cited = {
        section
        for path in python_files()
        for section in re.findall(r"FAQ \d+\.\d+", path.read_text(encoding="utf-8"))
    }

    assert cited
    assert sorted(cited - set(headings(REFERENCE / "faq-decisions.md"))) == []


def _has_test(name: str) -> bool:
    path, _, test = name.partition("::")
    file = ROOT / "tests" / path
    return file.is_file() and (
        not test or re.search(rf"def {test}\b", file.read_text(encoding="utf-8")) is not None
    )


@pytest.mark.parametrize("page", ["docs/design/ordering.md", "docs/design/concurrency.md"])
def test_the_tests_that_a_design_names_exist(page: str) -> None:
    named = re.findall(r"`([\w/]+/test_\w+\.py(?:::\w+)?)`", _text(page))

    assert named
    assert [name for name in named if not _has_test(name)] == []


def test_every_cell_of_the_table_of_concurrency_has_its_mechanism() -> None:
    page = DOCS / "design" / "concurrency.md"
    head, *rows = table(page, under="Operation by operation")
    mechanisms = {row[0] for row in table(page, under="Mechanisms")[1:]}
    cells = {
        (row[0], column): cell
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
    }
    named = {where: set(re.findall(r"\b[A-Z]\b", cell)) for where, cell in cells.items()}

    assert [row[0] for row in rows] == head[1:]
    assert [where for where, cell in cells.items() if cell != "/" and not named[where]] == []
    assert [where for where, letters in named.items() if letters - mechanisms] == []
    assert [(a, b) for a, b in cells if cells[a, b] != cells[b, a]] == []


# --- the map and the habits -------------------------------------------------------------------


def test_every_package_has_its_sentence_in_the_map() -> None:
    source = ROOT / "src" / "csbs"
    packages = [path.parent.relative_to(source) for path in source.rglob("__init__.py")]
    architecture = _text("ARCHITECTURE.md")
    missing = [
        str(package)
        for package in packages
        if package.parts and not re.search(rf"`{package}/`[^\n]*\w", architecture)
    ]

    assert missing == []


def test_the_changelog_has_room_for_what_is_not_released() -> None:
    assert headings(ROOT / "CHANGELOG.md")[1] == "Unreleased"


def test_every_decision_is_numbered_and_complete() -> None:
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    numbers = [int(path.name[:4]) for path in decisions]
    wanted = ["Context", "Decision", "Consequences", "Alternatives"]

    assert numbers == list(range(1, len(numbers) + 1))
    assert [path.name for path in decisions if headings(path)[1:] != wanted] == []


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if FOREIGN_PLACES.search(line)
    ]

    assert found == []
