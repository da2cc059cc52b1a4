"""Which disks a restore writes, and what speaks against it.  Nothing is touched before this.

Disks are paired by their ids, which `csbs.domain.identity` finds again: the target says nothing,
so disks that changed places or names are each written with what was theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import StrEnum

from csbs.domain.backup import Backup, DiskBackup, Mode
from csbs.domain.backup_plan import DiskPlan
from csbs.domain.errors import (
    CsbsError,
    DiskHalfWritten,
    DiskNotWritable,
    DiskTooSmall,
    NothingToRestore,
)
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import DiskId
from csbs.domain.server import DiskDescription

_NO_FILE = "its image is not a local file or device"
_HALF_WRITTEN = "an interrupted restore may have left it half written: never use it as it is"


class TargetShared(DiskNotWritable):
    """Other servers may write to the disk too."""


class Action(StrEnum):
    """What becomes of a disk."""

    WRITE = "write"
    #: Its image file is missing and is made anew at its path.
    CREATE = "create"
    #: The backup has it not, or it cannot be written: it keeps its data.
    KEEP = "keep"
    #: The backup has it and the server has it no more, or nothing tells which disk it is: it is not
    #: brought back.
    LEAVE_OUT = "leave_out"


class Way(StrEnum):
    """How a disk becomes what it was in the backup."""

    #: What differs is known: from the maps of two backups, and from change tracking.
    DIFFERENCE = "difference"
    #: The disk is read, compared with the backup, and what differs is written.
    COMPARE = "compare"
    #: The image is made anew, so all that has data is written.
    ANEW = "anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRestore:
    """What happens to one disk; `target` is the server's, or the backup's for a left-out one."""

    action: Action
    disk_id: DiskId | None
    target: str
    #: For people: what they should know before they say yes.
    note: str
    #: The disk of the server; None where it is left out.
    disk: DiskDescription | None
    #: The disk of the backup; None where it is kept.
    saved: DiskBackup | None
    found_by: FoundBy | None = None
    #: None where it is not written.
    way: Way | None = None
    #: Why this way, for people.
    way_reason: str = ""
    #: What is tracked of it; set for `Way.DIFFERENCE` only.
    tracked: DiskPlan | None = None

    @property
    def by_path_only(self) -> bool:
        """Nothing but its path says that this is the disk: ask for it by name."""
        there = self.disk is not None and not self.disk.missing
        return self.saved is not None and self.found_by is FoundBy.PATH and there

    def compared(self, why: str) -> DiskRestore:
        """The same disk, compared, since what is tracked of it is of no use."""
        return replace(self, way=Way.COMPARE, way_reason=why, tracked=None)

    @property
    def size_bytes(self) -> int:
        """Bytes that are written."""
        written = self.action in {Action.WRITE, Action.CREATE}
        return self.saved.size_bytes if written and self.saved else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """All disks of the server and of the backup, each with what happens to it."""

    backup: Backup
    disks: tuple[DiskRestore, ...]

    @property
    def written(self) -> tuple[DiskRestore, ...]:
        """The disks that are written."""
        return tuple(each for each in self.disks if each.action in {Action.WRITE, Action.CREATE})


def fingerprint(plan: RestorePlan) -> str:
    """Tells the plan from others: which disks are written, where, and what becomes of them."""
    disks = [
        (each.target, each.disk.source if each.disk else None, each.action) for each in plan.written
    ]
    text = json.dumps([plan.backup.id, disks])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def plan_restore(backup: Backup, matches: Sequence[Match], ids: Sequence[DiskId]) -> RestorePlan:
    """The plan of an in-place restore (FAQ 4.2: added disks keep their data, removed stay away).

    `ids` has the disk id for each match.  Raises `DiskTooSmall`, `DiskNotWritable`,
    `NothingToRestore`.
    """
    taken = set(ids)
    paired = [
        _same_path(backup, match, disk_id, taken)
        for match, disk_id in zip(matches, ids, strict=True)
    ]
    disks = [_plan_disk(backup, match, disk_id) for match, disk_id in paired]
    found = {disk_id for _, disk_id in paired}
    gone = [disk for disk in backup.disks if disk.disk_id not in found]
    plan = RestorePlan(backup=backup, disks=(*disks, *(_left_out(disk) for disk in gone)))
    if not plan.written:
        raise NothingToRestore(backup.id, backup.server_name)
    return plan


def choose_ways(
    plan: RestorePlan, tracked: Mapping[DiskId, DiskPlan], *, resumed: bool
) -> RestorePlan:
    """The plan with a way for each disk that is written.

    `tracked` says how a backup would read each of them now; what it would read whole is compared.
    `resumed`: an interrupted restore left disks of which nobody knows what they hold.
    """
    ways = (
        _with_way(disk, tracked[disk.disk_id], resumed=resumed)
        if disk in plan.written and disk.disk_id is not None
        else disk
        for disk in plan.disks
    )
    return replace(plan, disks=tuple(ways))


def _with_way(disk: DiskRestore, plan: DiskPlan, *, resumed: bool) -> DiskRestore:
    if disk.action is Action.CREATE:
        return replace(disk, way=Way.ANEW, way_reason="its image is made anew")
    if resumed:
        return disk.compared("an interrupted restore came before")
    if plan.mode is not Mode.INCREMENTAL:
        return disk.compared(plan.reason)
    return replace(disk, way=Way.DIFFERENCE, way_reason=plan.reason, tracked=plan)


def require_no_half_written(plan: RestorePlan, interrupted: Backup) -> None:
    """Raises `DiskHalfWritten` if the plan would leave a disk as an interrupted restore left it.

    Which disks that one had come to, nobody wrote down: all that it would have written count.
    """
    paths = {saved.source for saved in interrupted.disks}
    for each in plan.disks:
        disk, disk_id = each.disk, each.disk_id
        if each.action is not Action.KEEP or disk is None or disk_id is None:
            continue
        writable = disk.source is not None and not disk.read_only
        if writable and (interrupted.disk(disk_id) is not None or disk.source in paths):
            raise DiskHalfWritten(disk.target, plan.backup.server_name, interrupted.id)


def warn_of_half_written(plan: RestorePlan, interrupted: Backup) -> RestorePlan:
    """The plan; a disk that it leaves out says so if the interrupted restore may have written it.

    It is out of reach, and nobody can tell what it holds; the restore ends well without it.
    """
    paths = {saved.source for saved in interrupted.disks}
    disks = (
        replace(each, note=f"{_HALF_WRITTEN}; {each.note}")
        if each.action is Action.LEAVE_OUT and each.saved and each.saved.source in paths
        else each
        for each in plan.disks
    )
    return replace(plan, disks=tuple(disks))


def _same_path(
    backup: Backup, match: Match, disk_id: DiskId, taken: AbstractSet[DiskId]
) -> tuple[Match, DiskId]:
    """A disk that the backup has not, at the path of one that is missed, is that one by its path.

    Its size has changed and its bitmap is gone, so backups take it for a new disk, and those made
    since know it as such; a restore that kept it for that reason would leave the server half
    restored.  Not so where something stronger than its path says that it is another disk.
    """
    unlike = match.found_by in {FoundBy.SERIAL, FoundBy.MOVED} or backup.disk(disk_id) is not None
    if not unlike and match.disk.source is not None:
        for saved in backup.disks:
            if saved.source == match.disk.source and saved.disk_id not in taken:
                return replace(match, found_by=FoundBy.PATH), saved.disk_id
    return match, disk_id


def _left_out(saved: DiskBackup) -> DiskRestore:
    if saved.source is None:
        note = f"{_NO_FILE}, so csbs cannot bring it back; its data stays in the backup"
    else:
        note = (
            "removed from the server: it is not brought back, its data stays in the backup; to get "
            f"it, attach a disk at {saved.source} again and repeat the restore"
        )
    return DiskRestore(
        action=Action.LEAVE_OUT,
        disk_id=saved.disk_id,
        target=saved.target,
        note=note,
        disk=None,
        saved=saved,
    )


def _plan_disk(backup: Backup, match: Match, disk_id: DiskId) -> DiskRestore:
    disk = match.disk
    saved = backup.disk(disk_id)
    if saved is None:
        note = "added since the backup: it keeps its data"
        if disk.source is None:
            note = f"{_NO_FILE}, so csbs cannot write it: it keeps its data"
        action = Action.KEEP
    elif disk.read_only:
        note = "the server may only read it: it keeps its data"
        action = Action.KEEP
    else:
        problem = _problem(backup, disk, saved)
        if problem is not None:
            raise problem
        action = Action.CREATE if disk.missing else Action.WRITE
        note = _note(match, saved)
    return DiskRestore(
        action=action,
        disk_id=disk_id,
        target=disk.target,
        note=note,
        disk=disk,
        saved=saved,
        found_by=match.found_by,
    )


def _problem(backup: Backup, disk: DiskDescription, saved: DiskBackup) -> CsbsError | None:
    server = backup.server_name
    if disk.source is None:
        return DiskNotWritable(disk.target, server, _NO_FILE)
    if disk.shared:
        return TargetShared(disk.target, server, "other servers may use it at the same time")
    if not disk.missing and disk.size_bytes == 0:
        why = f"{disk.source} cannot be read; move it away, and the restore makes it anew"
        return DiskNotWritable(disk.target, server, why)
    if not disk.missing and disk.size_bytes < saved.size_bytes:
        return DiskTooSmall(disk.target, server, disk.size_bytes, saved.size_bytes)
    return None


def _note(match: Match, saved: DiskBackup) -> str:
    disk = match.disk
    if disk.missing:
        return f"its file {disk.source} is missing and is made anew"
    notes = []
    if match.found_by is FoundBy.PATH:
        notes.append("matched by path only: csbs cannot tell whether it is the same disk")
    if disk.size_bytes > saved.size_bytes:
        notes.append(
            f"larger than in the backup: it keeps its size, from byte {saved.size_bytes} on it "
            "becomes zero"
        )
    if saved.target != disk.target:
        notes.append(f"it was {saved.target} in the backup")
    return "; ".join(notes) or "overwritten"
