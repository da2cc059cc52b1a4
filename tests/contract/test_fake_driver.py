"""The fake driver keeps the contract of drivers, so tests of workflows may rely on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.clock import new_id
from csbs.domain.errors import DriverFailed, TrackingLost
from csbs.testing.driver_contract import FIRST, MIB, DriverContract, begin
from csbs.testing.fake_driver import FakeDriver, FakeServer
from csbs.testing.faults import Faults


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def driver(faults: Faults) -> Iterator[FakeDriver]:
    with tempfile.TemporaryDirectory() as folder:
        driver = FakeDriver(Path(folder), new_id=new_id, faults=faults)
        yield driver
        driver.close()


@pytest.fixture
def offline_server(driver: FakeDriver) -> FakeServer:
    return driver.add_server("web", {"vda": 8 * MIB, "vdb": 4 * MIB})


class TestFakeDriver(DriverContract):
    """Runs the contract."""


def test_a_scripted_fault_is_raised_once(
    driver: FakeDriver, offline_server: FakeServer, faults: Faults
) -> None:
    faults.on("begin_backup", TrackingLost("web", "by script"))

    with pytest.raises(TrackingLost):
        begin(driver, offline_server.id, FIRST)
    begin(driver, offline_server.id, FIRST).end()

    faults.assert_all_fired()
    assert driver.calls == ["begin_backup", "begin_backup"]


def test_a_killed_server_has_broken_tracking(
    driver: FakeDriver, offline_server: FakeServer
) -> None:
    offline_server.start()
    job = begin(driver, offline_server.id, FIRST)
    job.end()

    offline_server.kill()

    report = driver.tracking(offline_server.id)
    assert report.usable["vda"] == frozenset()
    assert list(report.broken["vda"]) == [job.tracking]


def test_an_unreadable_disk_does_not_answer(driver: FakeDriver, offline_server: FakeServer) -> None:
    driver.unreadable.add("vdb")

    job = begin(driver, offline_server.id, FIRST)

    assert driver.clean_up(offline_server.id) == ["ended a backup job"]
    with pytest.raises(DriverFailed):
        job.check()
