"""Backups through all use cases: what they keep, and what a crash at any step leaves."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.agent.backup_disk import CopyOptions
from csbs.domain.backup import BackupState, Mode
from csbs.domain.clock import monotonic
from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.errors import (
    Corrupt,
    DiskUnreadable,
    DriverFailed,
    OperationCancelled,
    ServerBusy,
    ServerNotFound,
    TrackingLost,
)
from csbs.domain.task import Progress, TaskState
from csbs.services.repositories import ManifestsLost
from csbs.services.requests import CreateBackup
from csbs.workflows.facts import backup_of
from csbs.workflows.run import Watcher
from tests.unit.workflows.service_lab import MIB, Crash, ServiceLab

#: A backup asks for the time less often than this.
CLOCK_CALLS_MAX = 30


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    yield made
    made.close()


def modes(lab: ServiceLab) -> list[Mode]:
    return [disk.mode for disk in lab.listed()[-1].disks]


def test_the_first_is_full_and_later_ones_are_incremental(lab: ServiceLab) -> None:
    lab.write(1)
    first, content_1 = lab.back_up(), lab.content()
    lab.write(2)
    second, content_2 = lab.back_up(), lab.content()

    assert [disk.mode for disk in first.disks] == [Mode.FULL, Mode.FULL]
    assert [disk.mode for disk in second.disks] == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert (lab.saved(first), lab.saved(second)) == (content_1, content_2)
    assert second.read_bytes < first.restored_bytes
    assert lab.tracking() == (second.tracking,)


def test_any_crash_is_settled_by_the_next_command(tmp_path: Path) -> None:
    reached_end = False
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab = ServiceLab(tmp_path / str(crash_at))
        lab.server.start()
        lab.write(1)
        first, content_1 = lab.back_up(), lab.content()
        lab.write(2)
        content_2 = lab.content()

        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.back_up()
            reached_end = True
        lab.clock.crash_at = 0
        lab.write(3)
        last = lab.back_up()

        states = {backup.id: backup.state for backup in lab.listed()}
        for backup in lab.listed():
            if backup.id not in {first.id, last.id} and backup.state is BackupState.AVAILABLE:
                assert lab.saved(backup) == content_2
        assert set(states.values()) <= {BackupState.AVAILABLE, BackupState.ERROR}
        assert states[first.id] is states[last.id] is BackupState.AVAILABLE
        assert (lab.saved(first), lab.saved(last)) == (content_1, lab.content())
        assert all(task.state is not TaskState.RUNNING for task in lab.tasks())
        assert lab.tracking() == (last.tracking,)
        lab.close()
        if reached_end:
            return
    pytest.fail(f"a backup asks for the time more than {CLOCK_CALLS_MAX} times")


def test_a_failed_backup_stays_as_error_and_the_next_misses_nothing(lab: ServiceLab) -> None:
    lab.write(1)
    first = lab.back_up()
    lab.write(2)
    lab.driver.unreadable.add("vdb")
    with pytest.raises(DiskUnreadable, match="vdb"):
        lab.back_up()
    lab.driver.unreadable.clear()
    lab.write(3)
    third = lab.back_up()

    failed = lab.listed()[1]
    assert [backup.state for backup in lab.listed()] == [
        BackupState.AVAILABLE,
        BackupState.ERROR,
        BackupState.AVAILABLE,
    ]
    assert "vdb" in failed.fail_reason
    assert [disk.mode for disk in third.disks] == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert lab.saved(third) == lab.content()
    assert lab.tracking() == (third.tracking,)
    assert lab.saved(first)["vda"] != lab.saved(third)["vda"]


def test_a_cancelled_backup_is_gone(lab: ServiceLab) -> None:
    lab.cancel.set()
    with pytest.raises(OperationCancelled):
        lab.back_up()
    lab.cancel.clear()

    assert (lab.listed(), lab.tracking()) == ([], ())
    assert [task.state for task in lab.tasks()] == [TaskState.CANCELLED]


def test_lost_tracking_is_rescanned_with_the_reason(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lab.server.kill()
    lab.server.start()
    lab.write(2)
    second = lab.back_up()

    assert [disk.mode for disk in second.disks] == [Mode.RESCAN, Mode.RESCAN]
    assert "not shut down cleanly" in second.disks[0].reason
    assert lab.saved(second) == lab.content()
    assert second.changed_bytes < 16 * 65536


def test_tracking_that_the_hypervisor_refuses_becomes_a_rescan(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lab.write(2)
    lab.faults.on("begin_backup", TrackingLost("web", "the bitmap is broken"))
    second = lab.back_up()

    assert modes(lab) == [Mode.RESCAN, Mode.RESCAN]
    assert second.disks[0].reason == "the bitmap is broken"
    assert lab.saved(second) == lab.content()
    lab.faults.assert_all_fired()


def test_a_forced_full_reads_all_and_stores_nothing_twice(lab: ServiceLab) -> None:
    lab.write(1)
    first = lab.back_up()
    second = lab.back_up(full=True)

    assert modes(lab) == [Mode.FULL, Mode.FULL]
    assert (second.read_bytes, second.stored_bytes) == (first.read_bytes, 0)


def test_a_stopped_server_is_backed_up_incrementally(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lab.server.power_off()
    lab.write(2)
    second = lab.back_up()

    assert modes(lab) == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert lab.saved(second) == lab.content()


@pytest.mark.parametrize("doomed", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_deletion_hurts_no_other_backup(lab: ServiceLab, doomed: int) -> None:
    made = []
    for pattern in (1, 2, 3):
        lab.write(pattern)
        made.append((lab.back_up(), lab.content()))
    gone, _ = made.pop(doomed)
    lab.delete(gone)
    lab.repositories.collect(lambda _: None)

    assert [lab.saved(backup) for backup, _ in made] == [content for _, content in made]
    assert [backup.id for backup in lab.listed()] == [backup.id for backup, _ in made]


def test_a_second_operation_on_a_server_is_refused(lab: ServiceLab) -> None:
    with (
        lab.locks.server(lab.driver.describe(lab.server.id), "restore"),
        pytest.raises(ServerBusy, match="restore"),
    ):
        lab.back_up()

    assert lab.listed() == []


def test_an_unknown_server_is_named(lab: ServiceLab) -> None:
    with pytest.raises(ServerNotFound, match="nosuch"):
        lab.backups.create(CreateBackup(server="nosuch"), lab.watcher)


def test_a_hypervisor_that_fails_leaves_an_error(lab: ServiceLab) -> None:
    lab.faults.on("begin_backup", DriverFailed("web", "vda", "the backup", "no space"))
    with pytest.raises(DriverFailed):
        lab.back_up()

    [failed] = lab.listed()
    assert (failed.state, lab.tracking()) == (BackupState.ERROR, ())
    assert "no space" in failed.fail_reason


def damage(folder: Path) -> None:
    """Flips a byte in every object below a folder of the store."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "forced"])
@pytest.mark.parametrize("part", ["manifests", "packs"])
def test_a_damaged_former_backup_is_done_without(
    lab: ServiceLab, tmp_path: Path, part: str, *, full: bool
) -> None:
    lab.write(1)
    lab.back_up()
    damage(tmp_path / "store" / part)
    lab.write(2)
    second = lab.back_up(full=full)

    assert lab.saved(second) == lab.content()
    assert second.disks[0].mode is Mode.FULL
    assert second.disks[0].reason == "the former backup of this disk is damaged"


def test_a_backup_with_a_damaged_manifest_can_be_deleted(lab: ServiceLab, tmp_path: Path) -> None:
    lab.write(1)
    first = lab.back_up()
    damage(tmp_path / "store" / "manifests")
    lab.write(2)
    second = lab.back_up()
    with pytest.raises(Corrupt):
        lab.repositories.collect(lambda _: None)
    lab.delete(first)
    lab.repositories.collect(lambda _: None)

    assert [backup.id for backup in lab.listed()] == [second.id]
    assert lab.saved(second) == lab.content()


def test_a_collection_in_a_store_that_lacks_a_backup_removes_nothing(
    lab: ServiceLab, tmp_path: Path
) -> None:
    lab.write(1)
    first = lab.back_up()
    [manifest] = (tmp_path / "store" / "manifests").rglob(f"*{first.id}")
    manifest.rename(tmp_path / "aside")
    with pytest.raises(ManifestsLost, match=first.manifest_key):
        lab.repositories.collect(lambda _: None)
    (tmp_path / "aside").rename(manifest)

    assert lab.saved(first) == lab.content()


def test_images_that_changed_places_are_read_anew(lab: ServiceLab, tmp_path: Path) -> None:
    lab.write(1)
    lab.back_up()
    lab.server.power_off()
    path, aside = lab.server.path("vda"), tmp_path / "aside"
    shutil.copyfile(path, aside)  # an image with the same bitmaps
    path.unlink()
    aside.rename(path)
    second = lab.back_up()

    assert [disk.mode for disk in second.disks] == [Mode.RESCAN, Mode.INCREMENTAL]
    assert "was replaced" in second.disks[0].reason
    assert lab.saved(second) == lab.content()


def test_a_write_that_tracking_missed_is_found_by_the_audit(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lab.server.power_off()
    lab.server.write_unseen("vda", offset=65536, size=65536, pattern=99)
    second = lab.back_up()

    assert [disk.mode for disk in second.disks] == [Mode.RESCAN, Mode.INCREMENTAL]
    assert "a sample of what tracking calls unchanged" in second.disks[0].reason
    assert lab.saved(second) == lab.content()


def test_many_disks_are_copied_some_at_once_and_shown_in_order(lab: ServiceLab) -> None:
    targets = lab.add_many(9)
    reports: list[Progress] = []
    watcher = Watcher(on_progress=reports.append, cancel=lab.cancel)
    made = lab.backups.create(CreateBackup(server="many"), watcher)
    at_once = {len(each.doing.split(",")) for each in reports}
    total_bytes = sum(range(1, 10)) * 65536

    assert [disk.target for disk in made.disks] == targets
    assert [disk.read_bytes for disk in made.disks] == [n * 65536 for n in range(1, 10)]
    assert {target: data.rstrip(b"\0") for target, data in lab.saved(made).items()} == {
        target: bytes([n]) * n * 65536 for n, target in enumerate(targets, 1)
    }
    assert max(at_once) <= CopyOptions().disks_at_once
    assert all(each.done_bytes <= each.total_bytes <= total_bytes for each in reports)
    assert (reports[-1].done_bytes, reports[-1].total_bytes) == (total_bytes, total_bytes)
    [task] = lab.tasks()
    assert (task.done_bytes, task.total_bytes) == (total_bytes, total_bytes)


def test_the_total_is_known_before_the_last_disks_have_their_turn(lab: ServiceLab) -> None:
    lab.add_many(9)
    reports: list[Progress] = []
    watcher = Watcher(on_progress=reports.append, cancel=lab.cancel)
    backups = replace(lab.backups, copying=CopyOptions(disks_at_once=1, piece_size_bytes=65536))
    backups.create(CreateBackup(server="many", limit_bytes_per_s=2 * MIB), watcher)
    early = [each for each in reports if each.done_bytes <= each.total_bytes // 4]
    shares = [each.done_bytes / each.total_bytes for each in reports]

    assert early[-1].total_bytes == 45 * 65536
    assert shares[-1] == 1
    assert [each.total_bytes for each in reports] == sorted(each.total_bytes for each in reports)


def test_two_disks_that_fail_at_once_are_one_failure(
    lab: ServiceLab,
) -> None:
    lab.write(1)
    lab.driver.unreadable |= {"vda", "vdb"}
    with pytest.raises(DiskUnreadable, match=r"vd[ab] of server web"):
        lab.back_up()
    lab.driver.unreadable.clear()
    last = lab.back_up()

    assert [backup.state for backup in lab.listed()] == [BackupState.ERROR, BackupState.AVAILABLE]
    assert lab.saved(last) == lab.content()
    assert lab.tracking() == (last.tracking,)


def test_a_cancel_in_the_middle_of_two_disks_ends_both_at_once(lab: ServiceLab) -> None:
    lab.server.write("vda", offset=0, size=4 * MIB, pattern=1)
    lab.server.write("vdb", offset=0, size=2 * MIB, pattern=1)

    def on_progress(progress: Progress) -> None:
        if progress.doing == "reading vda, vdb":
            lab.cancel.set()

    watcher = Watcher(on_progress=on_progress, cancel=lab.cancel)
    backups = replace(lab.backups, copying=CopyOptions(piece_size_bytes=65536, in_flight_max=2))
    begun = monotonic()
    with pytest.raises(OperationCancelled):
        backups.create(CreateBackup(server="web", limit_bytes_per_s=MIB // 4), watcher)

    assert monotonic() - begun < 10  # all of it takes 24 s
    assert (lab.listed(), lab.tracking()) == ([], ())
    assert not [each.name for each in threading.enumerate() if "disk" in each.name]


def test_a_rate_limit_holds_over_all_disks(lab: ServiceLab) -> None:
    lab.server.write("vda", offset=0, size=2 * MIB, pattern=1)
    lab.server.write("vdb", offset=0, size=2 * MIB, pattern=1)
    begun = monotonic()
    made = lab.backups.create(CreateBackup(server="web", limit_bytes_per_s=4 * MIB), lab.watcher)

    assert made.read_bytes == 4 * MIB
    # The last piece of 2 MiB is paid for by nobody.
    assert monotonic() - begun >= 0.5
    assert lab.saved(made) == lab.content()


def test_what_was_seen_of_a_freeze_is_kept_with_the_backup(lab: ServiceLab) -> None:
    lab.server.has_agent = True
    made = lab.back_up()
    manifest = lab.open_repository().manifest(made.manifest_key)

    assert made.consistency_reached is Consistency.FILESYSTEM
    assert made.freeze == FreezeEvidence(file_systems=2, frozen_ms=250, frozen_in_guest_ms=200)
    assert lab.backups.find(made.id).freeze == backup_of(manifest).freeze == made.freeze


def test_what_the_server_had_is_kept_with_the_backup(lab: ServiceLab) -> None:
    made = lab.back_up()
    manifest = lab.open_repository().manifest(made.manifest_key)
    rebuilt = backup_of(manifest)

    assert (made.vcpus, made.memory_bytes) == (2, 2 * 1024**3)
    assert (rebuilt.vcpus, rebuilt.memory_bytes) == (2, 2 * 1024**3)
    # Manifests of former versions do not tell.
    del manifest.facts["server"]["vcpus"], manifest.facts["server"]["memory_bytes"]
    assert (backup_of(manifest).vcpus, backup_of(manifest).memory_bytes) == (0, 0)


def test_a_server_is_frozen_without_a_watchdog_only_where_its_operator_says_so(
    lab: ServiceLab,
) -> None:
    lab.server.has_agent, lab.server.has_watchdog = True, False
    careful = lab.back_up()
    lab.servers.set_freeze_without_watchdog("web", on=True)
    bold = lab.back_up()
    lab.servers.set_freeze_without_watchdog("web", on=False)
    careful_again = lab.back_up()

    reached = [each.consistency_reached for each in (careful, bold, careful_again)]
    assert reached == [Consistency.CRASH, Consistency.FILESYSTEM, Consistency.CRASH]
    assert careful.consistency_reason == "the guest agent does not allow guest-exec"
