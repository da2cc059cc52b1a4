"""Order and completeness of a run of tests.

Cheap lanes come first, and the order inside a lane is random.  With `--complete`, as `make test`
runs them, a test that was skipped or left out and a lane without tests are failures: "all green"
then means that every test ran.  Without it they are only told.  A run of some lanes names their
folders; tests that need no server may share the processors (`-n 2`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from csbs.config import load_settings
from csbs.repository.objectstore.s3 import S3Access
from csbs.testing.any_s3 import S3Service, s3_service
from csbs.testing.postgres import Postgres, postgres_running
from csbs.testing.seaweedfs import WRITER, SeaweedFS, seaweedfs_running

# How fast a machine is must not decide whether a property holds.
# Properties of a suite are those of each class that has it.
_FINE = [HealthCheck.too_slow, HealthCheck.differing_executors]
settings.register_profile("csbs", deadline=None, suppress_health_check=_FINE)
settings.load_profile("csbs")

#: Folders below tests/, in the order of their runs.
LANES = ("meta", "unit", "contract", "format", "property", "integration", "e2e")

#: What the tests of a lane need; they need not say it themselves.
_MARKERS = {"integration": "host", "e2e": "guest"}

_TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A real S3 server for all tests of this run; each uses a prefix of its own."""
    with seaweedfs_running(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def any_s3(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Service]:
    """The service that `--s3-url` names, with the keys of the settings; else SeaweedFS."""
    url = request.config.getoption("--s3-url")
    if url:
        settings = load_settings(tmp_path_factory.mktemp("settings"))
        access = S3Access(
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key,
            timeout_s=settings.store_timeout_s,
            ca_file=Path(settings.s3_ca_file) if settings.s3_ca_file else None,
        )
    else:
        seaweedfs: SeaweedFS = request.getfixturevalue("seaweedfs")
        url, access = seaweedfs.url("any"), WRITER.access()
    with s3_service(url, access) as service:
        yield service


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL for all tests of this run; each uses a database of its own."""
    with postgres_running() as server:
        yield server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--s3-url",
        default="",
        help="where tests marked any_s3 run: s3://bucket/prefix?endpoint=https://host",
    )
    parser.addoption(
        "--complete",
        action="store_true",
        help="fail if any test was skipped, left out or expected to fail, or a lane is empty",
    )


def pytest_configure(config: pytest.Config) -> None:
    asked = {arg.split("/")[1] for arg in config.args if arg.startswith("tests/")}
    lanes = [lane for lane in LANES if lane in asked or not asked]
    fatal = config.getoption("--complete")
    config.pluginmanager.register(Completeness(lanes, fatal=fatal))


def pytest_itemcollected(item: pytest.Item) -> None:
    marker = _MARKERS.get(lane_of(item.path))
    if marker is not None:
        item.add_marker(marker)


@pytest.hookimpl(trylast=True)  # behind the plugin that shuffles
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LANES.index(lane_of(item.path)))


def lane_of(path: Path) -> str:
    """The lane of a test file; one that lies in no lane is an error of the tree."""
    lane = path.relative_to(_TESTS).parts[0]
    if lane not in LANES:
        raise pytest.UsageError(f"{path} lies in none of the lanes {', '.join(LANES)}")
    return lane


class Completeness:
    """Counts what ran and what did not, and says so at the end."""

    def __init__(self, lanes: Sequence[str], *, fatal: bool) -> None:
        self._lanes = lanes
        self._fatal = fatal
        self._deselected = 0
        #: Tests that were skipped or expected to fail; whole files too, which have no lane.
        self._skipped: set[str] = set()
        self._ran: Counter[str] = Counter()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.add(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            self._skipped.add(report.nodeid)
        elif report.when == "call":
            self._ran[report.nodeid.split("/")[1]] += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """One of several processes has ended: each of them collected all tests."""
        self._deselected = max(self._deselected, node.workeroutput["deselected"])
        self._skipped |= set(node.workeroutput["skipped"])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if told is not None:  # this is one of several processes
            told |= {"deselected": self._deselected, "skipped": sorted(self._skipped)}
        elif self._fatal and self.problems() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        ran = ", ".join(f"{lane} {self._ran[lane]}" for lane in LANES if self._ran[lane])
        terminalreporter.write_line(f"ran: {ran or 'nothing'}")
        terminalreporter.write_line(
            f"skipped: {len(self._skipped)}, deselected: {self._deselected}"
        )
        if self._fatal:
            for problem in self.problems():
                terminalreporter.write_line(f"incomplete: {problem}", red=True)

    def problems(self) -> list[str]:
        """Why this run does not count as complete."""
        found = [f"{test} was skipped" for test in sorted(self._skipped)]
        if self._deselected:
            found.append(f"{self._deselected} tests were deselected")
        found += [f"no test of {lane} ran" for lane in self._lanes if not self._ran[lane]]
        return found
