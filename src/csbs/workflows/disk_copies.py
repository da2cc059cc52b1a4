"""Copying the disks of one backup side by side, whatever is wrong with what is known of them.

A parent that turns out to be damaged is done without; tracking that missed a write is not used.
Both concern one disk, and the others go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

from csbs.agent.audit import AuditOptions, audit_disk
from csbs.agent.backup_disk import Copying, CopyOptions, DiskCopy, back_up_disk, bytes_to_copy
from csbs.agent.meter import JobMeter
from csbs.agent.side_by_side import side_by_side
from csbs.compute.base import DiskExport
from csbs.domain.backup_plan import AUDIT_DIFFERED, DiskPlan, untracked, without_parent
from csbs.domain.errors import Corrupt, CsbsError
from csbs.repository import BackupWriter, Image, ImageWriter
from csbs.repository.errors import BackupMissing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskToCopy:
    """A disk that is open; `copied` is what an earlier copy made of it in this backup."""

    export: DiskExport
    plan: DiskPlan
    copied: Image | None

    @property
    def tracked(self) -> bool:
        """Whether what the disk changed since what is stored of it is known."""
        if self.copied is not None:
            return self.export.dirty_context is not None
        return self.plan.since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedDisk:
    """What became of it; the plan says how it was read in the end."""

    plan: DiskPlan
    image: Image
    read_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopies:
    """Copies the disks of one backup into its writer."""

    #: For errors.
    server_name: str
    writer: BackupWriter
    #: The image that a disk's blocks are compared with; raises `Corrupt`, `BackupMissing`.
    parent: Callable[[DiskPlan], Image | None]
    options: CopyOptions
    auditing: AuditOptions
    meter: JobMeter

    def copy_all(
        self,
        disks: Sequence[DiskToCopy],
        keep: Callable[[CopiedDisk], None],
        *,
        cancelled: Callable[[], bool],
    ) -> None:
        """Copies all disks; the calling thread is told of each as it is copied.

        Raises what the first copy that fails raises, or what `keep` does, when all others have
        ended, which they do at once; `keep` hears of those that ended well.
        """
        stop = threading.Event()
        options = self.options

        def stopped() -> bool:
            return stop.is_set() or cancelled()

        with ExitStack() as opened:
            looking = opened.enter_context(self._threads(1, "look-ahead"))
            looking.submit(self._estimate, disks[options.disks_at_once :], stopped)
            copying = Copying(options=options, pool=opened.enter_context(options.pool()))
            side_by_side(
                disks,
                lambda disk: self._copy(disk, copying, stopped),
                lambda _, copied: keep(copied),
                pool=opened.enter_context(self._threads(options.disks_at_once, "copy-disk")),
                stop=stop,
            )

    def _threads(self, count: int, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count, name, self.options.begin_thread)

    def _estimate(self, disks: Sequence[DiskToCopy], stopped: Callable[[], bool]) -> None:
        """Looks through disks that wait for their turn: so the job's total is known early."""
        try:
            for each in disks:
                source = self._source(each, tracked=each.tracked)
                size_bytes = bytes_to_copy(source, self.options, cancelled=stopped)
                self.meter.estimate(each.plan.target, size_bytes)
        except CsbsError as error:  # the copy meets it too, and names it
            log.info("a disk was not looked through", extra={"why": str(error)})

    def _copy(self, each: DiskToCopy, copying: Copying, stopped: Callable[[], bool]) -> CopiedDisk:
        try:
            return self._copy_once(each, copying, stopped)
        except (Corrupt, BackupMissing) as error:
            if each.plan.parent_id is None:
                raise
            log.warning(
                "the former backup of a disk is damaged: all of it is read",
                extra={"disk": each.plan.target, "why": str(error)},
            )
            anew = replace(each, plan=without_parent(each.plan), copied=None)
            return self._copy_once(anew, copying, stopped)

    def _copy_once(
        self, each: DiskToCopy, copying: Copying, stopped: Callable[[], bool]
    ) -> CopiedDisk:
        plan, target = each.plan, each.plan.target
        writer = self._begin_image(each)
        source = self._source(each, tracked=each.tracked)
        if each.tracked and not self._audit(source, writer, plan, stopped):
            plan = untracked(plan, AUDIT_DIFFERED)
            source = self._source(each, tracked=False)
        progress = self.meter.begin(target)
        result = back_up_disk(source, writer, copying, progress=progress, cancelled=stopped)
        self.meter.end(target)
        return CopiedDisk(plan=plan, image=result.image, read_bytes=result.read_bytes)

    def _begin_image(self, each: DiskToCopy) -> ImageWriter:
        parent = self.parent(each.plan)
        if each.copied is not None:
            return self.writer.image_again(each.copied, parent=parent)
        return self.writer.image(each.plan.disk_id, each.export.size_bytes, parent=parent)

    def _source(self, each: DiskToCopy, *, tracked: bool) -> DiskCopy:
        return DiskCopy(
            disk=f"{each.plan.target} of server {self.server_name}",
            uri=each.export.uri,
            size_bytes=each.export.size_bytes,
            dirty_context=each.export.dirty_context if tracked else None,
            also_dirty=each.plan.also_dirty,
        )

    def _audit(
        self,
        source: DiskCopy,
        writer: ImageWriter,
        plan: DiskPlan,
        stopped: Callable[[], bool],
    ) -> bool:
        """Whether the sample of this turn is as in the parent."""
        audit = audit_disk(source, writer, self.auditing, turn=plan.audit_turn, cancelled=stopped)
        if audit.wrong_block is not None:
            log.error(
                "change tracking missed a write: all of the disk is read",
                extra={"disk": source.disk, "block": audit.wrong_block},
            )
        return audit.wrong_block is None
