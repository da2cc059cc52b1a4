"""How each disk of a server is read by the next backup, and why.

Change tracking is a hint: it is used only if the token (disk, size, TrackingPoint, last backup)
fits the parent and the hypervisor calls the bitmap consistent; otherwise the disk is read anew
and compared with the parent, so the history goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from csbs.domain.backup import Mode
from csbs.domain.block_set import NO_BLOCKS, BlockSet
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import BackupId, DiskId, TrackingName
from csbs.domain.server import DiskDescription, TrackingReport

#: Why a disk is read as it is, where others act on it.
ASKED_FOR = "asked for"
AUDIT_DIFFERED = "a sample of what tracking calls unchanged has changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the catalog knows of the TrackingPoint that began at a disk's newest backup."""

    name: TrackingName
    backup_id: BackupId
    size_bytes: int
    #: See `DiskDescription.image_identity`.
    image_identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The newest available backup that has the disk, and the disk's size in it."""

    backup_id: BackupId
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskHistory:
    """What is known of a disk: its parent, and its token."""

    parent: Parent | None = None
    token: Token | None = None
    #: Where the token was moved to the parent: which blocks differ between the parent and the
    #: backup that the token began at.
    moved: BlockSet | None = None
    #: Backups of it were deleted.
    had_deletion: bool = False
    #: How many backups the disk has: each audits another part of it.
    backup_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """How one disk is read.  `since` is set for incremental ones only."""

    disk_id: DiskId
    target: str
    mode: Mode
    reason: str
    parent_id: BackupId | None
    since: TrackingName | None
    #: Changed since the parent, beside what was tracked since `since`.
    also_dirty: BlockSet = NO_BLOCKS
    #: See `DiskHistory.backup_count`.
    audit_turn: int = 0


def plan_disk(
    disk_id: DiskId,
    match: Match,
    history: DiskHistory,
    report: TrackingReport,
    *,
    full: bool,
) -> DiskPlan:
    """Mode and reason for one disk; `full` forces that all is read."""
    parent, token = history.parent, history.token
    since: TrackingName | None = None
    also_dirty = NO_BLOCKS
    if parent is None:
        mode = Mode.FULL
        reason = "its last backup was deleted" if history.had_deletion else _why_first(match)
    elif full:
        mode, reason = Mode.FULL, ASKED_FOR
    else:
        reason = _why_not_tracked(match, parent, history, report)
        mode = Mode.RESCAN if reason else Mode.INCREMENTAL
        if token is not None and not reason:
            since, reason = token.name, "changes are tracked"
            also_dirty = _also_dirty(parent, token, history) or NO_BLOCKS
    return DiskPlan(
        disk_id=disk_id,
        target=match.disk.target,
        mode=mode,
        reason=reason,
        parent_id=parent.backup_id if parent else None,
        since=since,
        also_dirty=also_dirty,
        audit_turn=history.backup_count,
    )


def _why_not_tracked(
    match: Match, parent: Parent, history: DiskHistory, report: TrackingReport
) -> str:
    """Why the disk must be read whole; empty if its changes are known."""
    disk, token = match.disk, history.token
    if not disk.trackable:
        return _why_untrackable(disk)
    if match.found_by is FoundBy.MOVED:
        return f"its image moved to {disk.source}"
    if token is None:
        return "its changes were not tracked since the last backup"
    if _also_dirty(parent, token, history) is None:
        return "the backup at which tracking began was deleted"
    if not parent.size_bytes == token.size_bytes == disk.size_bytes:
        former = {parent.size_bytes, token.size_bytes} - {disk.size_bytes}
        return f"its size changed from {min(former)} to {disk.size_bytes} bytes"
    if token.image_identity != disk.image_identity:
        return "its image file was replaced, or got another backing file"
    fault = report.broken.get(disk.target, {}).get(token.name)
    if fault is not None:
        return f"its tracking is damaged: {fault}"
    if token.name in report.usable.get(disk.target, frozenset()):
        return ""
    if token.name in report.checkpoints:
        return "its bitmap is gone: an unclean shutdown, or somebody changed its image"
    return "its tracking is gone"


def _why_first(match: Match) -> str:
    if match.found_by is FoundBy.NEW_SIZE:
        return "taken for a new disk: the one at its path had another size"
    return "first backup of this disk"


def _why_untrackable(disk: DiskDescription) -> str:
    if disk.source is None:
        return "changes of images that are no local file or device cannot be tracked"
    if disk.format != "qcow2":
        return f"changes of {disk.format} images cannot be tracked"
    return "its image takes no bitmap: it is read-only, or qcow2 of version 2"


def _also_dirty(parent: Parent, token: Token, history: DiskHistory) -> BlockSet | None:
    """What changed between the parent and the token's begin; None: nobody knows."""
    return NO_BLOCKS if token.backup_id == parent.backup_id else history.moved


def untracked(plan: DiskPlan, why: str) -> DiskPlan:
    """The same disk without the use of tracking, since the hypervisor refused it."""
    if plan.since is None:
        return plan
    return replace(plan, mode=Mode.RESCAN, reason=why, since=None, also_dirty=NO_BLOCKS)


def reading_again(plan: DiskPlan, damaged: BlockSet | None) -> DiskPlan:
    """The same disk, reading also what its parent has and the store has lost.

    `damaged` are those blocks of the parent; None: too many to name.  Whoever reads all of the disk
    reads them anyway.
    """
    if plan.mode is not Mode.INCREMENTAL or damaged == NO_BLOCKS:
        return plan
    also_dirty = None if damaged is None else plan.also_dirty.union(damaged)
    if damaged is None or also_dirty is None:
        return untracked(plan, "much of its former backup is damaged in the store")
    count = sum(end - first for first, end in damaged.runs)
    reason = f"{plan.reason}; {count} blocks that are damaged in the store are read again"
    return replace(plan, also_dirty=also_dirty, reason=reason)


def without_parent(plan: DiskPlan) -> DiskPlan:
    """The same disk as if it had no parent, since the parent cannot be read."""
    why = "the former backup of this disk is damaged"
    return replace(
        plan, mode=Mode.FULL, reason=why, parent_id=None, since=None, also_dirty=NO_BLOCKS
    )


def retirable(
    report: TrackingReport, newest: Mapping[DiskId, TrackingName]
) -> frozenset[TrackingName]:
    """TrackingPoints that no disk's newest token names: they can go."""
    kept = frozenset(newest.values())
    held = {name for names in (*report.usable.values(), *report.broken.values()) for name in names}
    return frozenset(held | set(report.checkpoints)) - kept
