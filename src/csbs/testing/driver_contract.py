"""What every `ComputeDriver` keeps.  Subclass it once for each adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from csbs.compute.base import BackupJob, ComputeDriver, DiskToWrite, JobDisk, JobRequest
from csbs.domain.errors import (
    DriverFailed,
    ServerNotFound,
    ServerPoweredOff,
    ServerStartFailed,
    ServerStateRefused,
    TrackingLost,
)
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.ids import BackupId, ServerId, TrackingName, tracking_name
from csbs.domain.server import ServerState
from csbs.testing.libvirt_domains import dirty_ranges, read_export, write_export

MIB = 1024 * 1024
FIRST, SECOND, THIRD = BackupId("first"), BackupId("second"), BackupId("third")


class ContractServer(Protocol):
    """The server that a subclass gives: stopped, disks vda (8 MiB) and vdb (4 MiB), qcow2."""

    @property
    def id(self) -> ServerId:
        """See `ServerDescription.id`."""

    @property
    def name(self) -> str:
        """See `ServerDescription.name`."""

    def path(self, target: str) -> Path:
        """The image of a disk."""

    def start(self) -> None:
        """Starts the server, past the driver."""

    def power_off(self) -> None:
        """The server ends in good order, past the driver."""

    def kill(self) -> None:
        """The server ends as by a power cut."""

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """The server writes one byte value over a range."""

    def zero(self, target: str, *, offset: int, size: int) -> None:
        """The server writes zeroes without data."""

    def content(self, target: str) -> bytes:
        """All bytes of a disk; the server is stopped."""


def begin(
    driver: ComputeDriver,
    server_id: ServerId,
    backup_id: BackupId,
    *,
    since: BackupId | None = None,
    targets: Sequence[str] = ("vda", "vdb"),
) -> BackupJob:
    """Begins a backup of these disks, all since the same backup."""
    name = None if since is None else tracking_name(since)
    disks = [JobDisk(target=target, since=name) for target in targets]
    return driver.begin_backup(JobRequest(server_id=server_id, backup_id=backup_id, disks=disks))


def changed(job: BackupJob, target: str) -> list[tuple[int, int]]:
    """(first block, number of blocks) of each range that the job reports as changed."""
    export = job.exports[target]
    assert export.dirty_context is not None
    ranges = dirty_ranges(export.uri, export.dirty_context)
    return [(offset // BLOCK_SIZE, size // BLOCK_SIZE) for offset, size in ranges]


def _copied_and_not(server_id: ServerId) -> JobRequest:
    """SECOND goes on: vda was copied already, vdb was not."""
    return JobRequest(
        server_id=server_id,
        backup_id=SECOND,
        disks=[
            JobDisk(target="vda", since=tracking_name(SECOND)),
            JobDisk(target="vdb", since=tracking_name(FIRST)),
        ],
    )


class DriverContract:
    """The promises of `ComputeDriver`."""

    @pytest.fixture(params=["running", "stopped"])
    def server(
        self, offline_server: ContractServer, request: pytest.FixtureRequest
    ) -> ContractServer:
        """The subclass's server, in both states."""
        if request.param == "running":
            offline_server.start()
        return offline_server

    def test_a_server_is_listed_and_described(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        listed = {each.id: each for each in driver.list_servers()}

        assert listed[offline_server.id] == driver.describe(offline_server.id)
        found = listed[offline_server.id]
        assert (found.name, found.state) == (offline_server.name, ServerState.STOPPED)
        assert [(disk.target, disk.size_bytes) for disk in found.disks[:2]] == [
            ("vda", 8 * MIB),
            ("vdb", 4 * MIB),
        ]
        assert [disk.trackable for disk in found.disks[:2]] == [True, True]
        assert [disk.target for disk in found.disks if disk.bootable] == ["vda"]

    def test_an_unknown_server_is_not_found(self, driver: ComputeDriver) -> None:
        unknown = ServerId("00000000-0000-4000-8000-000000000000")

        with pytest.raises(ServerNotFound):
            driver.describe(unknown)
        with pytest.raises(ServerNotFound):
            begin(driver, unknown, FIRST)

    def test_a_job_shows_its_instant_while_the_server_goes_on(
        self, driver: ComputeDriver, server: ContractServer, tmp_path: Path
    ) -> None:
        server.write("vda", offset=100, size=BLOCK_SIZE, pattern=1)
        job = begin(driver, server.id, FIRST)
        if driver.describe(server.id).state is ServerState.RUNNING:
            server.write("vda", offset=0, size=MIB, pattern=2)

        content = read_export(job.exports["vda"].uri, tmp_path)
        job.check()
        job.end()

        expected = bytes(100) + b"\1" * BLOCK_SIZE
        assert content == expected.ljust(8 * MIB, b"\0")
        assert job.tracking == tracking_name(FIRST)
        assert job.exports["vda"].size_bytes == 8 * MIB
        assert job.exports["vda"].dirty_context is None
        assert job.exports["vda"].tracked

    def test_an_increment_reports_exactly_what_changed(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        server.write("vda", offset=0, size=4 * BLOCK_SIZE, pattern=1)
        begin(driver, server.id, FIRST).end()
        server.zero("vda", offset=BLOCK_SIZE, size=BLOCK_SIZE)
        server.write("vda", offset=9 * BLOCK_SIZE + 1, size=BLOCK_SIZE, pattern=3)

        job = begin(driver, server.id, SECOND, since=FIRST)
        found = changed(job, "vda"), changed(job, "vdb")
        job.end()

        assert found == ([(1, 1), (9, 2)], [])

    def test_each_tracking_point_counts_on_its_own(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        begin(driver, server.id, FIRST).end()
        server.write("vdb", offset=0, size=1, pattern=1)
        begin(driver, server.id, SECOND, since=FIRST).end()
        server.write("vdb", offset=5 * BLOCK_SIZE, size=1, pattern=1)

        job = begin(driver, server.id, THIRD, since=FIRST)
        found = changed(job, "vdb")
        job.end()

        assert found == [(0, 1), (5, 1)]
        report = driver.tracking(server.id)
        names = [tracking_name(each) for each in (FIRST, SECOND, THIRD)]
        assert list(report.checkpoints) == names
        assert report.usable["vda"] == report.usable["vdb"] == frozenset(names)

    def test_an_abandoned_job_leaves_nothing_and_the_retry_misses_nothing(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        begin(driver, server.id, FIRST).end()
        server.write("vda", offset=0, size=1, pattern=1)
        job = begin(driver, server.id, SECOND, since=FIRST)
        job.abandon()
        job.abandon()
        server.write("vda", offset=7 * BLOCK_SIZE, size=1, pattern=1)

        assert driver.tracking(server.id).checkpoints == (tracking_name(FIRST),)
        retry = begin(driver, server.id, THIRD, since=FIRST)
        found = changed(retry, "vda")
        retry.end()
        assert found == [(0, 1), (7, 1)]

    def test_a_job_may_be_ended_twice_and_keeps_its_tracking(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        job = begin(driver, server.id, FIRST)
        job.end()
        job.end()

        assert driver.tracking(server.id).checkpoints == (tracking_name(FIRST),)
        with pytest.raises(DriverFailed):
            job.check()

    def test_unknown_tracking_is_refused_and_leaves_nothing(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        begin(driver, server.id, FIRST).end()
        before = driver.tracking(server.id)

        with pytest.raises(TrackingLost):
            begin(driver, server.id, SECOND, since=THIRD)

        assert driver.tracking(server.id) == before
        assert driver.clean_up(server.id) == []

    def test_retired_tracking_is_gone_and_the_rest_stays(
        self, driver: ComputeDriver, server: ContractServer
    ) -> None:
        begin(driver, server.id, FIRST).end()
        begin(driver, server.id, SECOND).end()
        gone = [tracking_name(FIRST), TrackingName("csbs-never-was")]

        driver.retire_tracking(server.id, gone)
        driver.retire_tracking(server.id, gone)

        report = driver.tracking(server.id)
        assert report.checkpoints == (tracking_name(SECOND),)
        assert report.usable["vda"] == frozenset({tracking_name(SECOND)})
        assert not any(report.broken.values())

    def test_tracking_outlives_stop_and_start(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        driver.start(offline_server.id)
        begin(driver, offline_server.id, FIRST).end()
        offline_server.write("vda", offset=0, size=1, pattern=1)
        driver.stop(offline_server.id, timeout_s=0.1)
        offline_server.write("vda", offset=3 * BLOCK_SIZE, size=1, pattern=1)

        job = begin(driver, offline_server.id, SECOND, since=FIRST)
        found = changed(job, "vda")
        job.end()
        driver.start(offline_server.id)
        offline_server.write("vda", offset=6 * BLOCK_SIZE, size=1, pattern=1)
        live = begin(driver, offline_server.id, THIRD, since=SECOND)
        found_live = changed(live, "vda")
        live.end()

        assert found == [(0, 1), (3, 1)]
        assert found_live == [(6, 1)]

    def test_a_backup_goes_on_from_the_images_after_a_power_off(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        server = offline_server
        server.start()
        begin(driver, server.id, FIRST).end()
        server.write("vda", offset=0, size=1, pattern=1)
        server.write("vdb", offset=0, size=1, pattern=1)
        job = begin(driver, server.id, SECOND, since=FIRST)
        server.write("vda", offset=4 * BLOCK_SIZE, size=1, pattern=2)
        server.write("vdb", offset=4 * BLOCK_SIZE, size=1, pattern=2)
        server.power_off()
        with pytest.raises(ServerPoweredOff):
            job.check(after_failure=True)
        job.end()

        again = driver.go_on_stopped(_copied_and_not(server.id))
        found = changed(again, "vda"), changed(again, "vdb")
        with pytest.raises(ServerStartFailed):
            driver.start(server.id)
        again.check()
        again.end()
        next_one = begin(driver, server.id, THIRD, since=SECOND)
        found_by_next = changed(next_one, "vda"), changed(next_one, "vdb")
        next_one.end()

        assert again.tracking == tracking_name(SECOND)
        assert found == ([(4, 1)], [(0, 1), (4, 1)])
        assert found_by_next == ([(4, 1)], [(4, 1)])

    def test_a_backup_that_went_on_can_be_given_up(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        offline_server.start()
        begin(driver, offline_server.id, FIRST).end()
        job = begin(driver, offline_server.id, SECOND, since=FIRST)
        offline_server.power_off()
        job.end()

        driver.go_on_stopped(_copied_and_not(offline_server.id)).abandon()

        assert driver.tracking(offline_server.id).checkpoints == (tracking_name(FIRST),)

    def test_a_backup_does_not_go_on_if_the_server_runs_again(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        offline_server.start()
        begin(driver, offline_server.id, FIRST).end()
        job = begin(driver, offline_server.id, SECOND, since=FIRST)
        offline_server.power_off()
        offline_server.start()

        with pytest.raises(DriverFailed, match="started again"):
            job.check()
        job.end()
        with pytest.raises(ServerStateRefused):
            driver.go_on_stopped(_copied_and_not(offline_server.id))

    def test_a_backup_does_not_go_on_after_a_power_cut(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        offline_server.start()
        begin(driver, offline_server.id, FIRST).end()
        job = begin(driver, offline_server.id, SECOND, since=FIRST)
        offline_server.kill()

        with pytest.raises(ServerPoweredOff):
            job.check()
        with pytest.raises(TrackingLost):
            driver.go_on_stopped(_copied_and_not(offline_server.id))
        job.abandon()

        assert driver.tracking(offline_server.id).checkpoints == (tracking_name(FIRST),)
        assert driver.clean_up(offline_server.id) == []

    def test_starting_and_stopping_say_what_happened(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        assert driver.stop(offline_server.id, timeout_s=0.1) == "already stopped"
        driver.start(offline_server.id)
        driver.start(offline_server.id)
        assert driver.describe(offline_server.id).state is ServerState.RUNNING
        assert driver.stop(offline_server.id, timeout_s=0.1) in {"acpi", "forced"}
        assert driver.describe(offline_server.id).state is ServerState.STOPPED

    def test_the_job_of_a_stopped_server_keeps_it_from_starting(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        job = begin(driver, offline_server.id, FIRST)

        with pytest.raises(ServerStartFailed):
            driver.start(offline_server.id)
        job.end()
        driver.start(offline_server.id)

    def test_autostart_is_set(self, driver: ComputeDriver, offline_server: ContractServer) -> None:
        driver.set_autostart(offline_server.id, on=True)
        assert driver.describe(offline_server.id).autostart
        driver.set_autostart(offline_server.id, on=False)
        assert not driver.describe(offline_server.id).autostart

    def test_a_restore_writes_and_tracking_records_it(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        begin(driver, offline_server.id, FIRST).end()
        disk = driver.describe(offline_server.id).disk("vda")
        assert disk is not None

        with driver.open_for_restore(offline_server.id, [DiskToWrite(disk=disk)]) as opened:
            assert opened["vda"].dirty_context is None
            write_export(opened["vda"].uri, offset=2 * BLOCK_SIZE, size=BLOCK_SIZE, pattern=9)

        assert offline_server.content("vda")[2 * BLOCK_SIZE : 3 * BLOCK_SIZE] == b"\t" * BLOCK_SIZE
        job = begin(driver, offline_server.id, SECOND, since=FIRST)
        found = changed(job, "vda")
        job.end()
        assert found == [(2, 1)]

    def test_a_disk_to_be_restored_tells_what_changed_and_goes_on_recording(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        begin(driver, offline_server.id, FIRST).end()
        offline_server.write("vda", offset=0, size=1, pattern=1)
        begin(driver, offline_server.id, SECOND, since=FIRST).end()
        offline_server.write("vda", offset=5 * BLOCK_SIZE, size=1, pattern=1)
        disk = driver.describe(offline_server.id).disk("vda")
        assert disk is not None
        asked = [DiskToWrite(disk=disk, since=tracking_name(FIRST))]

        with driver.open_for_restore(offline_server.id, asked) as opened:
            uri, context = opened["vda"].uri, opened["vda"].dirty_context
            assert context is not None
            before = dirty_ranges(uri, context)
            write_export(uri, offset=2 * BLOCK_SIZE, size=BLOCK_SIZE, pattern=9)

        job = begin(driver, offline_server.id, THIRD, since=SECOND)
        found = changed(job, "vda")
        job.end()
        assert [offset // BLOCK_SIZE for offset, _ in before] == [0, 5]
        assert found == [(2, 1), (5, 1)]

    @pytest.mark.parametrize("lost", ["retired", "never was", "killed"])
    def test_lost_tracking_is_not_used_by_a_restore(
        self, driver: ComputeDriver, offline_server: ContractServer, lost: str
    ) -> None:
        if lost == "killed":
            driver.start(offline_server.id)
        begin(driver, offline_server.id, FIRST).end()
        if lost == "killed":
            offline_server.write("vda", offset=0, size=1, pattern=1)
            offline_server.kill()
        if lost == "retired":
            driver.retire_tracking(offline_server.id, [tracking_name(FIRST)])
        disk = driver.describe(offline_server.id).disk("vda")
        assert disk is not None
        since = tracking_name(SECOND if lost == "never was" else FIRST)

        with driver.open_for_restore(
            offline_server.id, [DiskToWrite(disk=disk, since=since)]
        ) as opened:
            assert opened["vda"].dirty_context is None
            write_export(opened["vda"].uri, offset=0, size=BLOCK_SIZE, pattern=9)

        assert offline_server.content("vda")[:BLOCK_SIZE] == b"\t" * BLOCK_SIZE

    def test_a_missing_image_is_made_anew(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        offline_server.path("vdb").unlink()
        disk = driver.describe(offline_server.id).disk("vdb")
        assert disk is not None
        assert (disk.missing, disk.size_bytes) == (True, 0)
        wanted = DiskToWrite(disk=disk, create_size_bytes=4 * MIB)

        with driver.open_for_restore(offline_server.id, [wanted]) as opened:
            write_export(opened["vdb"].uri, offset=0, size=BLOCK_SIZE, pattern=5)

        expected = (b"\5" * BLOCK_SIZE).ljust(4 * MIB, b"\0")
        assert offline_server.content("vdb") == expected
        driver.start(offline_server.id)

    def test_disks_of_a_running_server_are_not_written(
        self, driver: ComputeDriver, offline_server: ContractServer
    ) -> None:
        offline_server.start()
        disk = driver.describe(offline_server.id).disk("vda")
        assert disk is not None

        with (
            pytest.raises(ServerStateRefused),
            driver.open_for_restore(offline_server.id, [DiskToWrite(disk=disk)]),
        ):
            pass
