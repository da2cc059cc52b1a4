"""Noticing that change tracking does not work.

Two runs in a row on a disk whose changes were tracked read more than what changed.  Once may happen
(a host that lost power); twice in a row means that every run will cost as much as the first, which
nobody would notice otherwise.

    run      first  incremental  rescan  rescan  rescan  incremental  rescan  rescan
    without    0         0          1       2       3         0          1       2
    event                                   *                                    *
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from csbs.domain.backup import DiskBackup, Mode
from csbs.domain.backup_plan import ASKED_FOR
from csbs.domain.ids import BackupId, DiskId

#: So many in a row are told of, once.
IN_A_ROW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingWatch:
    """What is remembered of a disk's runs."""

    disk_id: DiskId
    #: The last run that was counted: one that is recorded again counts once.
    backup_id: BackupId
    #: A backup began tracking, or used it.
    was_tracked: bool
    #: Runs in a row that should have used tracking, and did not.
    without: int = 0


def after_run(
    watch: TrackingWatch | None, backup_id: BackupId, disk: DiskBackup, *, tracked_from: bool
) -> tuple[TrackingWatch, bool]:
    """What is remembered after a run, and whether this one is to be told of.

    `tracked_from`: changes are tracked since this run.  One that somebody asked to read all counts
    neither for nor against tracking.
    """
    if watch is None:
        watch = TrackingWatch(disk_id=disk.disk_id, backup_id=BackupId(""), was_tracked=False)
    if watch.backup_id == backup_id:
        return watch, False
    without = watch.without
    if disk.mode is Mode.INCREMENTAL:
        without = 0
    elif watch.was_tracked and disk.reason != ASKED_FOR:
        without += 1
    tracked = watch.was_tracked or tracked_from or disk.mode is Mode.INCREMENTAL
    after = replace(watch, backup_id=backup_id, was_tracked=tracked, without=without)
    return after, without == IN_A_ROW and watch.without < IN_A_ROW
