"""Restores through all use cases: what they write, and what a crash at any step leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.errors import (
    BackupInUse,
    BackupNotRestorable,
    Corrupt,
    DiskHalfWritten,
    DiskUnreadable,
    DriverFailed,
    OperationCancelled,
    PlanChanged,
    RestoreUnfinished,
    ServerBusy,
)
from csbs.domain.restore_plan import Action
from csbs.domain.server import ServerState
from csbs.domain.task import TaskState
from tests.unit.workflows.service_lab import Crash, ServiceLab

CLOCK_CALLS_MAX = 30


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    yield made
    made.close()


def test_disks_are_as_they_were_and_the_server_runs(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.write(2)
    lab.restore(backup, power_on=True)

    assert lab.content() == content
    assert lab.server.state is ServerState.RUNNING
    assert [disk.state for disk in lab.listed()] == [BackupState.AVAILABLE]


def test_it_stays_stopped_if_that_is_asked_for(lab: ServiceLab) -> None:
    backup = lab.back_up()
    lab.restore(backup, power_on=False)

    assert lab.server.state is ServerState.STOPPED


def test_history_goes_on_incrementally_after_a_restore(lab: ServiceLab) -> None:
    lab.write(1)
    first = lab.back_up()
    lab.write(2)
    lab.back_up()
    lab.restore(first, power_on=True)
    lab.write(3)
    third = lab.back_up()

    assert [disk.mode for disk in third.disks] == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert lab.saved(third) == lab.content()


def test_any_crash_is_finished_by_the_same_restore(tmp_path: Path) -> None:
    reached_end = False
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab = ServiceLab(tmp_path / str(crash_at))
        lab.server.start()
        lab.server.autostart = True
        lab.write(1)
        backup, content = lab.back_up(), lab.content()
        lab.write(2)
        other = lab.content()

        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.restore(backup)
            reached_end = True
        lab.clock.crash_at = 0
        if lab.content() not in (content, other):
            with pytest.raises(RestoreUnfinished, match=backup.id):
                lab.servers.start("web")
            with pytest.raises(RestoreUnfinished):
                lab.back_up()
        lab.restore(backup, power_on=True)

        assert lab.content() == content
        assert (lab.server.state, lab.server.autostart) == (ServerState.RUNNING, True)
        assert all(task.state is not TaskState.RUNNING for task in lab.tasks())
        assert [each.state for each in lab.listed()] == [BackupState.AVAILABLE]
        lab.close()
        if reached_end:
            return
    pytest.fail(f"a restore asks for the time more than {CLOCK_CALLS_MAX} times")


def test_a_restore_cancelled_before_it_writes_changes_nothing(lab: ServiceLab) -> None:
    lab.write(1)
    backup = lab.back_up()
    lab.write(2)
    content = lab.content()
    lab.cancel.set()
    with pytest.raises(OperationCancelled):
        lab.restore(backup)

    assert lab.content() == content
    assert lab.server.state is ServerState.RUNNING


def test_a_missing_disk_file_is_made_anew(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.server.power_off()
    lab.server.path("vdb").unlink()
    lab.restore(backup)

    assert lab.content() == content


def test_a_failed_backup_can_never_be_restored(lab: ServiceLab) -> None:
    lab.driver.unreadable.add("vda")
    with contextlib.suppress(DiskUnreadable):
        lab.back_up()
    [failed] = lab.listed()

    with pytest.raises(BackupNotRestorable, match="vda"):
        lab.restores.plan(failed.id)


def test_a_plan_changes_nothing(lab: ServiceLab) -> None:
    backup = lab.back_up()
    lab.write(2)
    content = lab.content()
    plan = lab.restores.plan(backup.name)

    assert [disk.target for disk in plan.written] == ["vda", "vdb"]
    assert (lab.content(), lab.server.state) == (content, ServerState.RUNNING)


def test_a_restore_while_another_operation_runs_is_refused(lab: ServiceLab) -> None:
    backup = lab.back_up()
    with (
        lab.locks.server(lab.driver.describe(lab.server.id), "backup"),
        pytest.raises(ServerBusy, match="backup"),
    ):
        lab.restore(backup)


def test_a_disk_that_cannot_be_opened_leaves_the_server_as_it_was(lab: ServiceLab) -> None:
    lab.server.autostart = True
    backup = lab.back_up()
    lab.write(2)
    content = lab.content()
    lab.faults.on("open_for_restore", DriverFailed("web", "vda", "opening", "it is locked"))
    with pytest.raises(DriverFailed, match="locked"):
        lab.restore(backup)

    assert lab.content() == content
    assert (lab.server.state, lab.server.autostart) == (ServerState.RUNNING, True)
    lab.back_up()  # nothing is half written


def test_a_refused_backup_does_not_let_go_of_half_written_disks(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.write(2)
    crash_in_the_first_write(lab, backup)
    for refused in (lab.back_up, lambda: lab.servers.untrack("web")):
        lab.driver.calls.clear()
        with pytest.raises(RestoreUnfinished):
            refused()
        assert "clean_up" not in lab.driver.calls

    with pytest.raises(BackupInUse, match="not finished"):
        lab.delete(backup)
    lab.restore(backup)
    assert lab.content() == content
    lab.delete(backup)


def test_a_resumed_restore_writes_only_what_differs(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.write(2)
    plain = lab.restore(backup)
    lab.write(2)
    crash_in_the_first_write(lab, backup)
    resumed = lab.restore(backup)

    assert (plain.resumed, resumed.resumed) == (False, True)
    assert lab.content() == content
    for target, disk in zip(("vda", "vdb"), plain.plan.written, strict=True):
        assert plain.results[target].unchanged_bytes == 0
        done = resumed.results[target]
        assert done.written_bytes + done.zeroed_bytes < 5 * 65536
        assert done.written_bytes + done.zeroed_bytes + done.unchanged_bytes == disk.size_bytes


def test_another_backup_over_an_interrupted_restore_is_compared_too(lab: ServiceLab) -> None:
    lab.write(1)
    first = lab.back_up()
    lab.write(2)
    second, content = lab.back_up(), lab.content()
    crash_in_the_first_write(lab, first)
    done = lab.restore(second)

    assert done.resumed
    assert lab.content() == content


def test_a_half_written_disk_is_not_kept_by_a_backup_that_lacks_it(lab: ServiceLab) -> None:
    lab.write(1)
    targets, lab.server.targets = lab.server.targets, ("vda",)
    without = lab.back_up()
    lab.server.targets = targets
    lab.write(2)
    both, content = lab.back_up(), lab.content()
    lab.write(3)
    crash_in_the_first_write(lab, both)
    half = lab.content()
    with pytest.raises(DiskHalfWritten, match=f"disk vdb of server web .*csbs restore {both.id}"):
        lab.restore(without)

    assert lab.content() == half
    assert lab.servers.half_restored() == {lab.server.id: both.id}
    lab.restore(both)
    assert lab.content() == content
    assert lab.restore(without).plan.disks[1].action is Action.KEEP


def crash_in_the_first_write(lab: ServiceLab, backup: Backup) -> None:
    """Ends the process, so to say, when the first disk is about to be written."""
    plan = lab.restores.plan(backup.id)
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.restores.restore(plan, lab.watcher, power_on=False)
        lab.clock.crash_at = 0
        if lab.servers.half_restored() == {lab.server.id: backup.id}:
            return
    pytest.fail("no crash hit the restore while it was marked")


def test_a_plan_that_nobody_agreed_to_is_not_carried_out(lab: ServiceLab) -> None:
    backup = lab.back_up()
    plan = lab.restores.plan(backup.id)
    lab.server.power_off()
    lab.server.path("vdb").unlink()
    content = lab.server.content("vda")
    with pytest.raises(PlanChanged):
        lab.restores.restore(plan, lab.watcher, power_on=False)

    assert lab.server.content("vda") == content
    assert not lab.server.path("vdb").exists()


def test_starting_a_server_that_runs_cancels_nothing(lab: ServiceLab) -> None:
    with lab.locks.server(lab.driver.describe(lab.server.id), "backup"):
        assert lab.servers.start("web").state is ServerState.RUNNING


@pytest.mark.parametrize("part", ["manifests", "packs"])
def test_a_damaged_backup_is_refused_before_the_server_is_stopped(
    lab: ServiceLab, tmp_path: Path, part: str
) -> None:
    lab.write(1)
    backup = lab.back_up()
    plan = lab.restores.plan(backup.id)
    for path in (tmp_path / "store" / part).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt):
        lab.restores.restore(plan, lab.watcher, power_on=True)

    assert lab.server.state is ServerState.RUNNING
    assert "stop" not in lab.driver.calls
    assert lab.servers.half_restored() == {}
