"""Two runs in a row without tracking, on a disk that was tracked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csbs.domain.backup import DiskBackup, Mode
from csbs.domain.backup_plan import ASKED_FOR
from csbs.domain.ids import BackupId, DiskId
from csbs.domain.tracking_watch import TrackingWatch, after_run

DISK = DiskBackup(
    disk_id=DiskId("d"),
    target="vda",
    source=None,
    format="qcow2",
    size_bytes=1,
    bootable=True,
    mode=Mode.FULL,
    reason="",
)

#: F: full (first, or no backup is left), A: full that was asked for, I: incremental, R: rescan.
RUNS = [
    ("F", "-"),
    ("FI", "--"),
    ("FR", "--"),
    ("FRR", "--*"),
    ("FIRR", "---*"),
    ("FIRRR", "---*-"),
    ("FIRIR", "-----"),
    ("FIRRIRR", "---*--*"),
    ("FIAA", "----"),
    ("FIRAR", "----*"),
    ("FIFF", "---*"),
]
#: Of a disk whose changes cannot be tracked.
UNTRACKABLE = [("FRRRR", "-----")]


def _told(runs: str, *, tracked: bool) -> str:
    watch: TrackingWatch | None = None
    told = ""
    modes = {"I": Mode.INCREMENTAL, "R": Mode.RESCAN}
    for number, kind in enumerate(runs):
        reason = ASKED_FOR if kind == "A" else "why"
        disk = replace(DISK, mode=modes.get(kind, Mode.FULL), reason=reason)
        backup_id = BackupId(f"b{number}")
        watch, now = after_run(watch, backup_id, disk, tracked_from=tracked)
        again, twice = after_run(watch, backup_id, disk, tracked_from=tracked)
        assert (again, twice) == (watch, False), "a run that is recorded again counts once"
        told += "*" if now else "-"
    return told


@pytest.mark.parametrize(("runs", "told"), RUNS)
def test_the_second_run_in_a_row_is_told_of_once(runs: str, told: str) -> None:
    assert _told(runs, tracked=True) == told


@pytest.mark.parametrize(("runs", "told"), UNTRACKABLE)
def test_a_disk_that_was_never_tracked_is_not_told_of(runs: str, told: str) -> None:
    assert _told(runs, tracked=False) == told


def test_a_disk_that_loses_the_ability_is_told_of() -> None:
    watch = TrackingWatch(disk_id=DISK.disk_id, backup_id=BackupId("b0"), was_tracked=True)
    rescan = replace(DISK, mode=Mode.RESCAN)

    watch, first = after_run(watch, BackupId("b1"), rescan, tracked_from=False)
    watch, second = after_run(watch, BackupId("b2"), rescan, tracked_from=False)

    assert (first, second) == (False, True)
