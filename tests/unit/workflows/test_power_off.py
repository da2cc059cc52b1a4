"""A server is powered off in the middle of its backup: the backup goes on, at a later instant."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.agent.backup_disk import CopyOptions
from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.errors import CommandFailed, CsbsError, ServerPoweredOff
from csbs.domain.task import Progress
from csbs.services.requests import CreateBackup
from csbs.testing.fake_driver import FakeServer
from csbs.workflows.run import Watcher
from tests.unit.workflows.service_lab import MIB, Crash, ServiceLab

VDA, VDB = 4 * MIB, 2 * MIB
#: When the server ends, its disks being copied one after another: as the first piece of a disk is
#: stored, as all of it is, or at the look-on.
MOMENTS = ["in vda", "end of vda", "in vdb", "end of vdb", "look on"]
#: Small enough that most of a disk is unread when its first piece is stored.
PIECES = CopyOptions(piece_size_bytes=2 * 65536, in_flight_max=2, disks_at_once=1)

#: A backup asks for the time less often than this.
CLOCK_CALLS_MAX = 40

End = Callable[[FakeServer], None]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    fill(made, 9)
    yield made
    made.close()


def fill(lab: ServiceLab, pattern: int) -> None:
    """Writes all of both disks."""
    lab.server.write("vda", offset=0, size=VDA, pattern=pattern)
    lab.server.write("vdb", offset=0, size=VDB, pattern=pattern)


def back_up(lab: ServiceLab, moment: str, end: End) -> Backup:
    """A backup in which the server writes and ends at a moment.

    Of vda, all of it must be dirty or new.
    """
    reached: list[str] = []

    def reach(now: str) -> None:
        if now == moment and not reached:
            reached.append(now)
            lab.write(7)
            end(lab.server)

    def on_progress(progress: Progress) -> None:
        target = progress.doing.removeprefix("reading ")
        reach(f"in {target}")
        if target == "vda" and progress.done_bytes == VDA:
            reach("end of vda")
        if target == "vdb" and progress.done_bytes == progress.total_bytes:
            reach("end of vdb")

    backups = replace(lab.backups, copying=PIECES)
    request = CreateBackup(server="web", look_on=lambda _exports, _check: reach("look on"))
    try:
        return backups.create(request, Watcher(on_progress=on_progress, cancel=lab.cancel))
    finally:
        assert reached == [moment]


@pytest.mark.parametrize("incremental", [False, True], ids=["full", "incremental"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_backup_is_of_the_power_off(lab: ServiceLab, moment: str, *, incremental: bool) -> None:
    if incremental:
        lab.back_up()
        fill(lab, 8)
    before = lab.clock()
    made, content = back_up(lab, moment, FakeServer.power_off), lab.content()
    lab.write(3)
    offline = lab.back_up()
    offline_content = lab.content()
    lab.server.start()
    lab.write(4)
    live = lab.back_up()

    expected = Mode.INCREMENTAL if incremental else Mode.FULL
    assert [disk.mode for disk in made.disks] == [expected] * 2
    assert lab.saved(made) == content
    assert made.created_at > before
    assert [disk.mode for disk in (*offline.disks, *live.disks)] == [Mode.INCREMENTAL] * 4
    assert lab.saved(offline) == offline_content
    assert lab.saved(live) == lab.content()
    assert lab.tracking() == (live.tracking,)


def test_sizes_are_those_of_a_backup_that_was_not_disturbed(lab: ServiceLab) -> None:
    lab.back_up()
    lab.write(2)
    made = back_up(lab, "end of vdb", FakeServer.power_off)
    measured = lab.backups.measure_deletion(made.id)

    # Two writes of 100,000 bytes a disk, each over two blocks.
    assert [disk.changed_bytes for disk in made.disks] == [4 * 65536] * 2
    assert measured.storage_before_bytes - measured.storage_after_bytes == 8 * 65536


def test_what_was_copied_is_not_read_again(lab: ServiceLab) -> None:
    made = back_up(lab, "end of vdb", FakeServer.power_off)

    assert made.disks[0].read_bytes == 4 * MIB + 2 * 65536


@pytest.mark.parametrize("incremental", [False, True], ids=["full", "incremental"])
def test_in_the_middle_of_two_disks_at_once_it_goes_on_with_both(
    lab: ServiceLab, *, incremental: bool
) -> None:
    if incremental:
        lab.back_up()
        fill(lab, 8)
    reached: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        if progress.doing == "reading vda, vdb" and not reached:
            reached.append(progress)
            lab.write(7)
            lab.server.power_off()

    # Slow enough that neither disk is at its end when the other one begins.
    request = CreateBackup(server="web", limit_bytes_per_s=8 * MIB)
    backups = replace(lab.backups, copying=replace(PIECES, disks_at_once=2))
    made = backups.create(request, Watcher(on_progress=on_progress, cancel=lab.cancel))
    content = lab.content()
    lab.write(3)
    last = lab.back_up()

    assert [(each.done_bytes < VDA + VDB) for each in reached] == [True]
    expected = Mode.INCREMENTAL if incremental else Mode.FULL
    assert [(disk.target, disk.mode) for disk in made.disks] == [
        ("vda", expected),
        ("vdb", expected),
    ]
    assert lab.saved(made) == content
    assert [disk.mode for disk in last.disks] == [Mode.INCREMENTAL] * 2
    assert lab.saved(last) == lab.content()


def test_a_power_cut_fails_and_the_next_is_a_rescan(lab: ServiceLab) -> None:
    lab.back_up()
    fill(lab, 2)
    with pytest.raises(ServerPoweredOff, match=r"web was powered off .* no usable"):
        back_up(lab, "end of vda", FakeServer.kill)
    [_, failed] = lab.listed()
    last = lab.back_up()

    assert failed.state is BackupState.ERROR
    assert [disk.mode for disk in last.disks] == [Mode.RESCAN] * 2
    assert lab.saved(last) == lab.content()
    assert lab.tracking() == (last.tracking,)


def test_a_server_that_runs_again_fails_the_backup(lab: ServiceLab) -> None:
    def restart(server: FakeServer) -> None:
        server.power_off()
        server.start()

    first = lab.back_up()
    fill(lab, 8)
    with pytest.raises(CsbsError, match="started again"):
        back_up(lab, "end of vda", restart)
    assert lab.tracking() == (first.tracking,)
    last = lab.back_up()

    assert [disk.mode for disk in last.disks] == [Mode.INCREMENTAL] * 2
    assert lab.saved(last) == lab.content()


def test_a_server_that_starts_just_in_between_fails_the_backup(
    lab: ServiceLab,
) -> None:
    def start(call: str) -> None:
        if call == "go_on_stopped":
            lab.server.start()

    lab.driver.before_call = start
    with pytest.raises(ServerPoweredOff, match="is running"):
        back_up(lab, "end of vda", FakeServer.power_off)

    assert lab.tracking() == ()
    assert [backup.state for backup in lab.listed()] == [BackupState.ERROR]


def test_a_disk_of_another_size_fails_the_backup(lab: ServiceLab) -> None:
    def grow(server: FakeServer) -> None:
        server.power_off()
        server.resize("vda", size_bytes=8 * MIB)

    with pytest.raises(ServerPoweredOff, match="disk vda has another size"):
        back_up(lab, "end of vdb", grow)

    assert lab.tracking() == ()
    lab.driver.start(lab.server.id)


def test_a_command_that_failed_with_the_power_off_is_run_again(lab: ServiceLab) -> None:
    looks = []

    def look(exports: object, _check: object) -> None:
        looks.append(exports)
        if len(looks) == 1:
            lab.server.power_off()
            raise CommandFailed("cat", "broken pipe")

    made = lab.backups.create(CreateBackup(server="web", look_on=look), lab.watcher)

    assert (made.state, len(looks)) == (BackupState.AVAILABLE, 2)


def test_any_crash_after_the_power_off_is_settled_by_the_next_command(tmp_path: Path) -> None:
    reached_end = False
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab = ServiceLab(tmp_path / str(crash_at))
        lab.server.start()
        fill(lab, 9)

        def power_off(server: FakeServer, lab: ServiceLab = lab, crash_at: int = crash_at) -> None:
            server.power_off()
            lab.clock.crash_at = crash_at

        with contextlib.suppress(Crash):
            back_up(lab, "end of vda", power_off)
            reached_end = True
        lab.clock.crash_at = 0
        content_2 = lab.content()
        lab.write(3)
        last = lab.back_up()

        for backup in lab.listed():
            if backup.id != last.id and backup.state is BackupState.AVAILABLE:
                assert lab.saved(backup) == content_2
        assert lab.saved(last) == lab.content()
        assert lab.tracking() == (last.tracking,)
        assert lab.driver.clean_up(lab.server.id) == []
        lab.close()
        if reached_end:
            return
    pytest.fail(f"a backup asks for the time more than {CLOCK_CALLS_MAX} times")
