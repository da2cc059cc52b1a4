"""`--complete`: a run that left anything out is no success."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LANES
from tests.meta.tree import ROOT

PASSES = "def test_it() -> None:\n    assert True\n"
# Spelled in two parts, for the rule that forbids it to tests of the product.
SKIPS = "import pytest\n\ndef test_it() -> None:\n    pytest." + "skip('not today')\n"
EXPECTED_TO_FAIL = (
    "import pytest\n\n@pytest.mark." + "xfail\ndef test_it() -> None:\n    assert False\n"
)
SKIPPED_FILE = "import pytest\n\npytest." + "skip('no part', allow_module_level=True)\n"
PYTEST_INI = """\
[pytest]
addopts = --import-mode=importlib --strict-markers
markers =
    host: needs a host
    guest: needs a guest
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one test in each lane, and our conftest."""
    for lane in LANES:
        (tmp_path / "tests" / lane).mkdir(parents=True)
        (tmp_path / "tests" / lane / "test_it.py").write_text(PASSES)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    return tmp_path


def _run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_complete_run_says_so(project: Path) -> None:
    result = _run(project, "--complete")

    assert result.returncode == 0
    assert "skipped: 0, deselected: 0" in result.stdout
    assert f"ran: {', '.join(f'{lane} 1' for lane in LANES)}" in result.stdout


def test_make_test_runs_every_test() -> None:
    asked = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    folders = {word for word in asked.stdout.split() if word.startswith("tests/")}
    tests = {path.relative_to(ROOT) for path in (ROOT / "tests").glob("**/test_*.py")}

    assert {lane.split("/")[1] for lane in folders} == set(LANES)
    assert [
        str(test) for test in tests if sum(test.is_relative_to(folder) for folder in folders) != 1
    ] == []


def test_a_run_of_some_lanes_is_complete_with_them(project: Path) -> None:
    chosen = ("--complete", "tests/meta", "tests/unit")
    whole = _run(project, *chosen)
    (project / "tests" / "unit" / "test_it.py").unlink()
    without = _run(project, *chosen)

    assert whole.returncode == 0
    assert "ran: meta 1, unit 1" in whole.stdout
    assert "incomplete: no test of unit ran" in without.stdout


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(SKIPS, id="a test"),
        pytest.param(SKIPPED_FILE, id="a file"),
        pytest.param(EXPECTED_TO_FAIL, id="expected to fail"),
    ],
)
@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_was_skipped_fails_a_complete_run(project: Path, source: str, processes: str) -> None:
    (project / "tests" / "unit" / "test_more.py").write_text(source)

    complete = _run(project, "--complete", "-n", processes)
    by_hand = _run(project, "-n", processes)

    assert complete.returncode == pytest.ExitCode.TESTS_FAILED
    assert "incomplete: tests/unit/test_more.py" in complete.stdout
    assert by_hand.returncode == pytest.ExitCode.OK
    assert "skipped: 1, deselected: 0" in by_hand.stdout


def test_what_was_deselected_fails_a_complete_run(project: Path) -> None:
    (project / "tests" / "unit" / "test_more.py").write_text("def test_more() -> None: ...\n")

    chosen = ("-k", "not more")
    complete, by_hand = _run(project, "--complete", *chosen), _run(project, *chosen)

    assert complete.returncode == pytest.ExitCode.TESTS_FAILED
    assert "incomplete: 1 tests were deselected" in complete.stdout
    assert by_hand.returncode == pytest.ExitCode.OK
    assert "skipped: 0, deselected: 1" in by_hand.stdout


def test_processes_side_by_side_tell_what_they_left_out(project: Path) -> None:
    (project / "tests" / "unit" / "test_more.py").write_text(SKIPPED_FILE)
    (project / "tests" / "meta" / "test_more.py").write_text("def test_more() -> None: ...\n")

    result = _run(project, "--complete", "-k", "not more", "-n", "2")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "incomplete: tests/unit/test_more.py" in result.stdout
    assert "incomplete: 1 tests were deselected" in result.stdout


def test_an_empty_lane_fails_a_complete_run(project: Path) -> None:
    (project / "tests" / "e2e" / "test_it.py").unlink()

    result = _run(project, "--complete")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "incomplete: no test of e2e ran" in result.stdout


def test_what_needs_a_host_can_be_left_out(project: Path) -> None:
    result = _run(project, "-m", "not host and not guest")

    assert "skipped: 0, deselected: 2" in result.stdout


def test_lanes_run_in_their_order_whatever_the_seed(project: Path) -> None:
    result = _run(project, "-vv")
    order = [line.split("/")[1] for line in result.stdout.splitlines() if "PASSED" in line]

    assert order == list(LANES)
