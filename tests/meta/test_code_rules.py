"""The rules of `rules.py`: the tree keeps each, and each finds a breach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.meta import rules
from tests.meta.tree import ROOT, name_of, python_files

Rule = Callable[[str], Iterator[str]]

EVERYWHERE: list[Rule] = [
    rules.file_is_short,
    rules.suppressions_have_reasons,
    rules.broad_handlers_have_reasons,
    rules.our_modules_are_not_patched,
    rules.no_test_is_left_out,
]

#: Here the words that the rules look for are quoted.
QUOTING = "tests/meta/test_code_rules.py"
#: The one file that must be one file: docs/decisions/0009-one-file-for-the-worst-day.md.
RESCUE = "src/csbs/rescue.py"
#: One function for each migration is what Alembic wants.
MIGRATIONS = "src/csbs/catalog/migrations/versions/"

# Spelled in two parts, so that the linters do not take them for their own.
NOQA, IGNORE = "# no" + "qa", "# type: ig" + "nore"

BREACHES: list[tuple[Rule, str]] = [
    (rules.file_is_short, "x = 1\n" * 601),
    (rules.functions_are_short, "def long():\n" + "    x = 1\n" * 70),
    (rules.suppressions_have_reasons, f"x = 1  {NOQA}\n"),
    (rules.suppressions_have_reasons, f"x = 1  {NOQA}: E501\n"),
    (rules.suppressions_have_reasons, f"x = 1  {IGNORE}\n"),
    (rules.suppressions_have_reasons, f"x = 1  {IGNORE}[arg-type]  # why\n"),
    (rules.suppressions_have_reasons, "# ruff: no" + "qa\n"),
    (rules.broad_handlers_have_reasons, "try:\n    f()\nexcept Exception:\n    pass\n"),
    (rules.broad_handlers_have_reasons, "try:\n    f()\nexcept (OSError, Exception):\n    pass\n"),
    (rules.broad_handlers_have_reasons, "try:\n    f()\nexcept:\n    pass\n"),
    (rules.broad_handlers_have_reasons, "with suppress(Exception):\n    f()\n"),
    (rules.no_test_is_left_out, "@pytest.mark.skipif(True)\ndef test(): ...\n"),
    (rules.no_test_is_left_out, "@pytest.mark.xfail\ndef test(): ...\n"),
    (rules.no_test_is_left_out, "from pytest import skip\n"),
    (rules.no_test_is_left_out, "nbd = pytest.importorskip('nbd')\n"),
    (rules.no_test_sleeps, "import time\ntime.sleep(1)\n"),
    (rules.no_test_sleeps, "from time import sleep\n"),
    (rules.our_modules_are_not_patched, "from unittest import mock\n"),
    (rules.our_modules_are_not_patched, "from unittest.mock import patch\n"),
    (rules.our_modules_are_not_patched, "monkeypatch.setattr('csbs.domain.x', 1)\n"),
    (
        rules.our_modules_are_not_patched,
        "from csbs.domain import clock\nmonkeypatch.setattr(clock, 'utc_now', None)\n",
    ),
]

HARMLESS: list[tuple[Rule, str]] = [
    (rules.functions_are_short, "def long():\n" + "    x = 1\n" * 69),
    (rules.suppressions_have_reasons, f"x = 1  {NOQA}: E501  # the table is read as a whole\n"),
    (rules.suppressions_have_reasons, f"x = 1  {NOQA}: E501, S108 - never opened by anybody\n"),
    (rules.suppressions_have_reasons, f"x = 1  {IGNORE}[arg-type]  # each is a dataclass\n"),
    (rules.broad_handlers_have_reasons, "try:\n    f()\nexcept Exception:\n    g()\n    raise\n"),
    (
        rules.broad_handlers_have_reasons,
        "try:\n    f()\nexcept Exception:  # the top of a thread: kept for the caller\n    pass\n",
    ),
    (rules.no_test_sleeps, "event.wait(1)\n"),
    (rules.our_modules_are_not_patched, "import os\nmonkeypatch.setattr(os, 'fsync', crash)\n"),
    (rules.our_modules_are_not_patched, "monkeypatch.setenv('CSBS_DATA_DIR', '/x')\n"),
]


def _breaches(rule: Rule, *folders: str) -> list[str]:
    return [
        f"{name_of(path)}:{found}"
        for path in python_files(*folders)
        if name_of(path) != QUOTING
        for found in rule(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    allowed = RESCUE if rule is rules.file_is_short else None

    assert [each for each in _breaches(rule) if each.partition(":")[0] != allowed] == []


def test_functions_are_short() -> None:
    found = _breaches(rules.functions_are_short)

    assert [breach for breach in found if not breach.startswith(MIGRATIONS)] == []


def test_tests_do_not_sleep() -> None:
    assert _breaches(rules.no_test_sleeps, "tests", "src/csbs/testing") == []


@pytest.mark.parametrize(("rule", "source"), BREACHES)
def test_a_breach_is_found(rule: Rule, source: str) -> None:
    assert len(list(rule(source))) == 1


@pytest.mark.parametrize(("rule", "source"), HARMLESS)
def test_what_is_allowed_is_not_called_a_breach(rule: Rule, source: str) -> None:
    assert list(rule(source)) == []


def test_every_lint_rule_that_is_off_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    codes = [line for line in lines if line.strip().startswith('"') and line.strip()[1].isupper()]
    off = [line for line in codes if line.split('"')[1].rstrip("0123456789").isupper()]

    assert [line for line in off if "#" not in line] == []
