"""QEMU, a job or csbs itself ends where it should not; and others are at work on the server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from csbs.compute.base import DiskToWrite, JobDisk, JobRequest
from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.errors import (
    DriverFailed,
    ServerJobRunning,
    ServerPoweredOff,
    ServerStartFailed,
    TrackingLost,
)
from csbs.domain.ids import tracking_name
from csbs.domain.server import ServerState, TrackingFault
from csbs.testing.driver_contract import FIRST, SECOND, THIRD, begin, changed
from csbs.testing.libvirt_domains import DomainServer, write_export
from tests.integration.libvirt.conftest import Host

pytestmark = pytest.mark.host

#: Opens a job or a restore, says so, and waits to be killed.
HOLD_JOB = """
import sys
from pathlib import Path
from csbs.compute.libvirt import LibvirtDriver
from csbs.testing.driver_contract import FIRST, begin
uri, run, scratch, server_id = sys.argv[1:]
driver = LibvirtDriver(uri, run_folder=Path(run), scratch_folder=Path(scratch))
job = begin(driver, server_id, FIRST)
print("ready", flush=True)
sys.stdin.read()
"""
HOLD_RESTORE = """
import sys
from pathlib import Path
from csbs.compute.base import DiskToWrite
from csbs.compute.libvirt import LibvirtDriver
uri, run, scratch, server_id = sys.argv[1:]
driver = LibvirtDriver(uri, run_folder=Path(run), scratch_folder=Path(scratch))
disks = [DiskToWrite(disk=disk) for disk in driver.describe(server_id).disks]
with driver.open_for_restore(server_id, disks) as opened:
    print(opened["vda"].uri, flush=True)
    sys.stdin.read()
"""


@contextmanager
def _process(script: str, host: Host, server: DomainServer) -> Iterator[str]:
    """Runs the script, yields its first line, and kills it at the end of the body."""
    folders = str(host.run_folder), str(host.scratch_folder)
    with subprocess.Popen(
        [sys.executable, "-c", script, host.uri, *folders, server.id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)


def test_a_killed_qemu_loses_tracking_and_the_next_backup_goes_on(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    server = offline_server
    server.start()
    begin(driver, server.id, FIRST).end()
    server.power_off()  # stores the bitmap; the next start marks it as in use
    server.start()
    server.kill()

    while_stopped = driver.tracking(server.id)
    with pytest.raises(TrackingLost):
        begin(driver, server.id, SECOND, since=FIRST)
    server.start()
    while_running = driver.tracking(server.id)
    with pytest.raises(TrackingLost):
        begin(driver, server.id, SECOND, since=FIRST)
    begin(driver, server.id, SECOND).end()
    driver.retire_tracking(server.id, [tracking_name(FIRST)])
    server.write("vda", offset=0, size=1, pattern=1)
    job = begin(driver, server.id, THIRD, since=SECOND)
    found = changed(job, "vda")
    job.end()

    broken = {tracking_name(FIRST): TrackingFault.NOT_CLOSED}
    assert while_stopped.broken == while_running.broken == {"vda": broken, "vdb": broken}
    assert while_stopped.usable == while_running.usable == {}
    assert driver.tracking(server.id).checkpoints == (tracking_name(SECOND), tracking_name(THIRD))
    assert driver.tracking(server.id).broken == {}
    assert found == [(0, 1)]


def test_broken_tracking_of_a_stopped_server_is_retired_and_begun_anew(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    server = offline_server
    begin(driver, server.id, FIRST).end()
    server.start()
    server.kill()

    begin(driver, server.id, SECOND).end()
    driver.retire_tracking(server.id, [tracking_name(FIRST)])
    server.write("vdb", offset=0, size=1, pattern=1)
    job = begin(driver, server.id, THIRD, since=SECOND)
    found = changed(job, "vdb")
    job.end()

    assert found == [(0, 1)]
    assert driver.tracking(server.id).broken == {}


def test_a_power_off_in_the_middle_is_noticed_and_cleared(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    server = offline_server
    server.start()
    begin(driver, server.id, FIRST).end()
    server.write("vda", offset=0, size=1, pattern=1)
    job = begin(driver, server.id, SECOND, since=FIRST)
    job.check()

    server.power_off()

    with pytest.raises(ServerPoweredOff, match=server.name):
        job.check()
    job.abandon()
    job.abandon()
    assert driver.tracking(server.id).checkpoints == (tracking_name(FIRST),)
    retry = begin(driver, server.id, THIRD, since=FIRST)
    found = changed(retry, "vda")
    retry.end()
    assert found == [(0, 1)]


def test_a_foreign_job_refuses_a_backup_and_is_left_alone(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    server = offline_server
    server.start()
    server.begin_job()

    with pytest.raises(ServerJobRunning, match="a backup"):
        begin(driver, server.id, FIRST)

    assert driver.clean_up(server.id) == []
    assert server.has_job()
    assert server.checkpoints() == []
    server.end_job()
    begin(driver, server.id, FIRST).end()


def test_a_paused_server_is_backed_up_and_stays_paused(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    offline_server.start()
    offline_server.pause()

    begin(driver, offline_server.id, FIRST).end()

    assert driver.describe(offline_server.id).state is ServerState.PAUSED
    assert driver.stop(offline_server.id, timeout_s=60) == "forced"


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_what_a_killed_csbs_left_of_a_backup_is_cleaned_up(
    driver: LibvirtDriver, offline_server: DomainServer, host: Host, *, running: bool
) -> None:
    server = offline_server
    if running:
        server.start()
    with _process(HOLD_JOB, host, server) as line:
        assert line == "ready"
    if running:
        with pytest.raises(ServerJobRunning):
            begin(driver, server.id, SECOND)

    done = driver.clean_up(server.id)

    # One job, or two qemu-nbd and their files.
    assert len(done) == (1 if running else 3)
    assert driver.clean_up(server.id) == []
    assert driver.tracking(server.id).checkpoints == (tracking_name(FIRST),)
    begin(driver, server.id, SECOND, since=FIRST).end()
    driver.start(server.id)


def test_a_killed_restore_keeps_the_server_from_starting(
    driver: LibvirtDriver, offline_server: DomainServer, host: Host
) -> None:
    server = offline_server
    begin(driver, server.id, FIRST).end()
    with _process(HOLD_RESTORE, host, server) as uri:
        write_export(uri, offset=0, size=1, pattern=1)

    with pytest.raises(ServerStartFailed):
        driver.start(server.id)

    assert len(driver.clean_up(server.id)) == 4
    job = begin(driver, server.id, SECOND, since=FIRST)
    found = changed(job, "vda")
    job.end()
    driver.start(server.id)
    assert found == [(0, 1)]


def test_a_failed_restore_keeps_the_server_from_starting(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    disk = driver.describe(offline_server.id).disks[0]

    with (
        pytest.raises(ZeroDivisionError),
        driver.open_for_restore(offline_server.id, [DiskToWrite(disk=disk)]),
    ):
        raise ZeroDivisionError

    with pytest.raises(ServerStartFailed):
        driver.start(offline_server.id)
    assert len(driver.clean_up(offline_server.id)) == 2
    driver.start(offline_server.id)


def test_tracking_is_retired_although_one_image_was_made_anew(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    server = offline_server
    begin(driver, server.id, FIRST).end()
    server.path("vdb").unlink()
    disk = driver.describe(server.id).disk("vdb")
    assert disk is not None
    with driver.open_for_restore(server.id, [DiskToWrite(disk=disk, create_size_bytes=4096)]):
        pass
    server.start()

    assert list(driver.tracking(server.id).usable) == ["vda"]
    mixed = [JobDisk(target="vda", since=tracking_name(FIRST)), JobDisk(target="vdb")]
    job = driver.begin_backup(JobRequest(server_id=server.id, backup_id=SECOND, disks=mixed))
    job.end()
    driver.retire_tracking(server.id, [tracking_name(FIRST)])

    report = driver.tracking(server.id)
    assert report.checkpoints == (tracking_name(SECOND),)
    assert report.usable["vda"] == report.usable["vdb"] == frozenset({tracking_name(SECOND)})


def test_an_image_that_cannot_be_opened_names_its_disk_and_leaves_nothing(
    driver: LibvirtDriver, offline_server: DomainServer, host: Host
) -> None:
    offline_server.path("vdb").write_bytes(b"no qcow2 any more")

    with pytest.raises(DriverFailed, match="vdb") as raised:
        begin(driver, offline_server.id, FIRST)

    assert raised.value.disk == "vdb"
    assert offline_server.name in str(raised.value)
    assert driver.tracking(offline_server.id).checkpoints == ()
    assert driver.tracking(offline_server.id).usable == {}
    assert list((host.run_folder / offline_server.id).iterdir()) == []
    assert [disk.size_bytes for disk in driver.describe(offline_server.id).disks][1] == 0
