"""Restores through all use cases: what they write, and what a crash at any step leaves."""

from __future__ import annotations

import contextlib
import os
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
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.restore_plan import Action, Way
from csbs.domain.server import ServerState
from csbs.domain.task import Progress, TaskState
from csbs.services.requests import RestoreRequest
from csbs.workflows.run import Watcher
from tests.unit.workflows.service_lab import Crash, ServiceLab

CLOCK_CALLS_MAX = 40
MIB = 1024**2


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


def test_disks_are_written_side_by_side(lab: ServiceLab) -> None:
    told: set[str] = set()
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.write(2)
    plan = lab.restores.plan(backup.id)
    watcher = Watcher(on_progress=lambda each: told.add(each.doing), cancel=lab.cancel)
    lab.restores.restore(plan, watcher, RestoreRequest(power_on=False, limit_bytes_per_s=8 * MIB))

    assert "writing vda, vdb" in told
    assert lab.content() == content


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
        assert plain.results[target].written_bytes < 3 * 65536
        done = resumed.results[target]
        assert done.written_bytes + done.zeroed_bytes < 5 * 65536
        assert done.written_bytes + done.zeroed_bytes + done.unchanged_bytes == disk.size_bytes


def test_only_what_differs_is_written_and_the_next_backup_is_right(lab: ServiceLab) -> None:
    """An older backup over a newer state, and forth again."""
    lab.write(1)
    first, old = lab.back_up(), lab.content()
    lab.write(2)
    second, new = lab.back_up(), lab.content()
    lab.write(3)
    back = lab.restore(first)
    restored = lab.content()
    forth = lab.restore(second)

    assert (restored, lab.content()) == (old, new)
    for done in (back, forth):
        assert {disk.way for disk in done.plan.written} == {Way.DIFFERENCE}
        for result in done.results.values():
            assert result.written_bytes + result.zeroed_bytes <= 4 * BLOCK_SIZE
    third = lab.back_up()
    assert [disk.mode for disk in third.disks] == [Mode.INCREMENTAL] * 2
    assert lab.saved(third) == new


def test_the_newest_backup_may_have_been_deleted(lab: ServiceLab) -> None:
    """Its tracking speaks for the one before it."""
    lab.write(1)
    first, old = lab.back_up(), lab.content()
    lab.write(2)
    second = lab.back_up()
    lab.write(3)
    lab.delete(second)
    done = lab.restore(first)

    assert {disk.way for disk in done.plan.written} == {Way.DIFFERENCE}
    assert lab.content() == old


@pytest.mark.parametrize("compare", [False, True], ids=["sample", "--compare"])
def test_a_write_that_tracking_missed_is_found(lab: ServiceLab, *, compare: bool) -> None:
    """By the sample, as all of the disk fits into it; or since it was asked for."""
    lab.write(1)
    first, old = lab.back_up(), lab.content()
    lab.write(2)
    lab.back_up()
    lab.server.power_off()
    lab.server.write_unseen("vda", offset=BLOCK_SIZE, size=512, pattern=9)
    planned = lab.restores.plan(first.id)
    done = lab.restore(first, compare=compare)
    after = lab.back_up()

    assert lab.content() == old == lab.saved(after)
    assert planned.disks[0].way is Way.DIFFERENCE
    why = "asked for" if compare else "a sample of what tracking calls unchanged has changed"
    vda = done.plan.disks[0]
    assert (vda.way, vda.way_reason) == (Way.COMPARE, why)


def test_untracked_disks_are_compared(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.write(2)
    lab.server.power_off()
    lab.servers.untrack("web")
    done = lab.restore(backup)

    assert lab.content() == content
    assert {disk.way for disk in done.plan.written} == {Way.COMPARE}
    assert all(result.written_bytes <= 2 * BLOCK_SIZE for result in done.results.values())


def test_a_disk_made_anew_is_written_without_zeroes(lab: ServiceLab) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.server.power_off()
    lab.server.path("vdb").unlink()
    done = lab.restore(backup)

    assert lab.content() == content
    assert done.plan.disks[1].way is Way.ANEW
    assert done.results["vdb"].zeroed_bytes == 0


def test_a_cancel_before_the_first_write_leaves_no_empty_disk(lab: ServiceLab) -> None:
    lab.write(1)
    backup = lab.back_up()
    lab.server.power_off()
    lab.server.path("vdb").unlink()
    watcher = Watcher(
        on_progress=lambda progress: (
            lab.cancel.set() if progress.doing.startswith("looking through") else None
        ),
        cancel=lab.cancel,
    )
    with pytest.raises(OperationCancelled):
        lab.restores.restore(lab.restores.plan(backup.id), watcher, RestoreRequest(power_on=False))

    assert not lab.server.path("vdb").exists()
    assert lab.servers.half_restored() == {}


def test_a_crash_never_leaves_an_empty_disk_in_service(tmp_path: Path) -> None:
    """Between a missing image made anew and its first byte, too."""
    lab = ServiceLab(tmp_path)
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    lab.server.path("vdb").unlink()
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.restore(backup)
        lab.clock.crash_at = 0
        if lab.server.path("vdb").exists():
            break
    else:
        pytest.fail(f"no image was made within {CLOCK_CALLS_MAX} looks at the time")

    assert lab.server.content("vdb") != content["vdb"]
    with pytest.raises(RestoreUnfinished):
        lab.servers.start("web")
    lab.restore(backup)
    assert lab.content() == content
    lab.close()


def test_an_image_that_cannot_be_made_leaves_the_server_as_it_was(lab: ServiceLab) -> None:
    lab.write(1)
    backup = lab.back_up()
    lab.write(2)
    lab.server.power_off()
    lab.server.autostart = True
    lab.server.path("vdb").unlink()
    lab.server.path("vdb").symlink_to("/nowhere/vdb")
    before = lab.server.content("vda")
    with pytest.raises(DriverFailed, match="making the image"):
        lab.restore(backup)

    assert lab.server.content("vda") == before
    assert lab.servers.half_restored() == {}
    assert lab.server.autostart


def test_an_image_that_cannot_be_given_away_is_not_left_behind(
    lab: ServiceLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where root may not change owners."""
    backup = lab.back_up()
    lab.server.power_off()
    lab.server.path("vdb").unlink()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(DriverFailed, match="not permitted"):
        lab.restore(backup)

    assert not lab.server.path("vdb").exists()
    assert lab.servers.half_restored() == {}


def test_progress_counts_what_has_to_be_done(lab: ServiceLab) -> None:
    lab.write(1)
    backup = lab.back_up()
    lab.write(2)
    seen: list[Progress] = []
    watcher = Watcher(on_progress=seen.append, cancel=lab.cancel)
    lab.restores.restore(lab.restores.plan(backup.id), watcher, RestoreRequest(power_on=False))
    totals = {each.total_bytes for each in seen if each.total_bytes}

    assert len(totals) == 1
    assert max(totals) <= 4 * BLOCK_SIZE
    assert seen[-1].done_bytes == seen[-1].total_bytes


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


def test_a_disk_detached_after_an_interrupted_restore_is_warned_of(lab: ServiceLab) -> None:
    lab.write(1)
    backup = lab.back_up()
    before = lab.restores.plan(backup.id)
    lab.write(2)
    crash_in_the_first_write(lab, backup)
    lab.server.targets = ("vda",)
    _, left_out = lab.restores.plan(backup.id).disks
    lab.restore(backup)
    _, afterwards = lab.restores.plan(backup.id).disks

    assert [disk.action for disk in before.disks] == [Action.WRITE] * 2
    assert left_out.action is afterwards.action is Action.LEAVE_OUT
    assert left_out.note.startswith("an interrupted restore may have left it half written")
    assert "half written" not in afterwards.note


def crash_in_the_first_write(lab: ServiceLab, backup: Backup) -> None:
    """Ends the process, so to say, when the first disk is about to be written."""
    plan = lab.restores.plan(backup.id)
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.restores.restore(plan, lab.watcher, RestoreRequest(power_on=False))
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
        lab.restores.restore(plan, lab.watcher, RestoreRequest(power_on=False))

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
        lab.restores.restore(plan, lab.watcher, RestoreRequest(power_on=True))

    assert lab.server.state is ServerState.RUNNING
    assert "stop" not in lab.driver.calls
    assert lab.servers.half_restored() == {}
