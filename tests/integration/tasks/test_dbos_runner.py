"""The durable runner in processes of its own, which are killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.testing.postgres import Postgres

_TIMEOUT_S = 60


class RunnerProcess:
    """See `csbs.testing.runner_process`."""

    def __init__(self, database: str, *wanted: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "csbs.testing.runner_process", database, *wanted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []

    def read_until(self, *lines: str) -> None:
        """Until it has said each of these."""
        while not set(lines) <= set(self.said):
            self._read()

    def _read(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it ended, and said {self.said}"
        self.said.append(line.strip())

    def read_until_begun(self, count: int) -> None:
        """Until so many of its tasks have begun."""
        while len(begun(self.said)) < count:
            self._read()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_TIMEOUT_S)

    def stop(self) -> None:
        rest, _ = self._process.communicate(timeout=_TIMEOUT_S)
        self.said += rest.split("\n")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "workflows.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def process(database: str) -> Iterator[Callable[..., RunnerProcess]]:
    made: list[RunnerProcess] = []

    def make(*wanted: str) -> RunnerProcess:
        made.append(RunnerProcess(database, *wanted))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def begun(said: list[str]) -> set[str]:
    return {line.removeprefix("begin ") for line in said if line.startswith("begin ")}


def test_what_was_killed_or_waited_is_carried_out_once_when_it_is_given_anew(
    process: Callable[..., RunnerProcess],
) -> None:
    first = process("--hold", "web/stuck1", "web/stuck2", "db/other")
    first.read_until("end other", "ready", "begin stuck1")
    first.kill()
    assert begun(first.said) == {"other", "stuck1"}, "one of a server after the other"

    second = process("web/stuck1", "web/stuck2")
    second.read_until("end stuck1", "end stuck2")
    second.stop()
    told = [line for line in second.said if "stuck" in line]
    assert told == ["begin stuck1", "end stuck1", "begin stuck2", "end stuck2"]


def test_what_the_library_recovers_by_itself_is_let_go(
    process: Callable[..., RunnerProcess],
) -> None:
    first = process("--hold", "web/stuck1")
    first.read_until("begin stuck1")
    first.kill()

    # Until the second ends, the first has been recovered: by then it has waited for its turn.
    second = process("--hold", "web/stuck2")
    second.read_until("begin stuck2", "ready")
    second.stop()
    assert begun(second.said) == {"stuck2"}


def test_a_stop_breaks_off_what_it_can(process: Callable[..., RunnerProcess]) -> None:
    runner = process("--hold", "web/stuck1")
    runner.read_until("begin stuck1", "ready")
    runner.stop()

    assert {"end stuck1", "stopped"} <= set(runner.said)


def test_no_more_run_at_once_than_may(process: Callable[..., RunnerProcess]) -> None:
    runner = process("--hold", "a/stuck1", "b/stuck2", "c/stuck3")
    runner.read_until("ready")
    runner.read_until_begun(2)
    runner.stop()

    assert len(begun(runner.said)) == 2
