"""Restoring a server's disks in place.

check     what will surely be read is there
stop      the server is shut down
look      each disk, opened through qemu-nbd: what is to be written, and a sample of the rest
mark      from here on the server must not start: its disks may be half old and half new
make      images that are missing, empty
write     what differs, several disks at once, through qemu-nbd: change tracking goes on
unmark    the disks are whole
start     unless the caller says no
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from csbs.agent.audit import AuditOptions
from csbs.agent.look_through import LookedThrough, look_through
from csbs.agent.meter import JobMeter
from csbs.agent.restore_disk import RestoreOptions, RestoreResult, Restoring, restore_disk
from csbs.agent.restore_plan import DiskTarget, KnownSince
from csbs.agent.side_by_side import side_by_side
from csbs.catalog import Catalog, backups, servers, tasks
from csbs.catalog.servers import UnfinishedRestore
from csbs.compute.base import ComputeDriver, DiskToWrite, WritableDisk
from csbs.domain.clock import Clock
from csbs.domain.errors import BackupDamaged, Corrupt, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.ids import TaskId
from csbs.domain.restore_plan import Action, DiskRestore, RestorePlan, Way
from csbs.domain.server import ServerDescription, ServerState
from csbs.domain.task import Progress
from csbs.repository import ImageReader, OnLoss, Repository, damage_of
from csbs.repository.errors import BackupMissing
from csbs.workflows.holes import Holes, Refusal
from csbs.workflows.run import Run, check_cancelled

log = logging.getLogger(__name__)


class RestoreSteps(Protocol):
    """The steps of one restore; each may happen twice."""

    def check(self, run: Run) -> None:
        """Makes sure that all that will be read is there; ends early if the run is cancelled."""

    def stop(self, run: Run) -> None:
        """Shuts the server down; ends early if the run is cancelled."""

    def mark(self) -> None:
        """Records that the disks may be half written, and keeps the server from starting."""

    def open_disks(self) -> AbstractContextManager[Mapping[str, WritableDisk]]:
        """Opens the disks that are there, by target."""

    def look_through(self, disk: DiskRestore, opened: WritableDisk, run: Run) -> None:
        """Finds out what must be written of a disk; ends early if the run is cancelled."""

    def make_missing(self) -> AbstractContextManager[Mapping[str, WritableDisk]]:
        """Makes the images that are missing, and opens them, by target."""

    def write(self, opened: Mapping[str, WritableDisk], run: Run) -> None:
        """Makes all disks as they were."""

    def unmark(self) -> None:
        """Records that the disks are whole again."""

    def start(self) -> None:
        """Starts the server."""

    def back_out(self) -> None:
        """Leaves the server as it was found: nothing was written."""


def restore_server(run: Run, do: RestoreSteps, plan: RestorePlan, *, power_on: bool) -> None:
    """Restores in place; it can be cancelled until `mark`.

    A crash before `mark` leaves a stopped server with its old disks; one after it a server that
    stays stopped, with its images locked or at least marked in the catalog, until this restore
    or another one has written all disks.  Nothing is marked before all disks that are there are
    open and looked through, so a disk that cannot be opened leaves the server as it was.  Missing
    images are made behind the mark, since one that a crash left behind is an empty disk; where
    they cannot be made, nothing was written and the mark goes again.
    """
    written = False
    run.step("check", do.check, run)
    try:
        run.step("stop", do.stop, run)
        check_cancelled(run, "the restore")
        with do.open_disks() as found:
            for disk in plan.written:
                if disk.target in found:
                    look = f"look through {disk.target}"
                    run.step(look, do.look_through, disk, found[disk.target], run)
            check_cancelled(run, "the restore")
            run.step("mark", do.mark)
            with do.make_missing() as made:
                written = True
                run.step("write", do.write, {**found, **made}, run)
    except Exception:
        if not written:
            do.back_out()
        raise
    run.step("unmark", do.unmark)
    if power_on:
        run.step("start", do.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTools:
    """What a restore works with."""

    catalog: Catalog
    driver: ComputeDriver
    repository: Repository
    writing: RestoreOptions
    sampling: AuditOptions
    #: Compare what is known not to differ too.
    compare_rest: bool
    #: How long the server may take to shut down before it is forced.
    stop_timeout_s: float
    clock: Clock
    #: Go on where the backup is damaged: zeroes stand for what is lost.
    allow_holes: bool = False
    #: The server ran when this restore began in a former life of the service.
    was_running: bool = False
    #: The task that the mark makes one that cannot be cancelled.
    task_id: TaskId | None = None


class ServerRestore:
    """The steps of one restore of a real server."""

    def __init__(self, plan: RestorePlan, server: ServerDescription, tools: RestoreTools) -> None:
        #: With the ways as they turn out.
        self.plan = plan
        self._server = server
        self._tools = tools
        #: By target: what was found of the disks that were there.
        self._looked: dict[str, LookedThrough] = {}
        self._readers: dict[str, ImageReader] = {}
        #: By target: what the backup has lost of the disks that were written.
        self.holes: dict[str, Holes] = {}
        #: By target.
        self.results: dict[str, RestoreResult] = {}
        project_id = plan.backup.project_id
        with tools.catalog.transaction() as transaction:
            #: A restore that was interrupted: what it says of autostart is the truth.
            self._earlier = servers.unfinished_restore(transaction, project_id, server.id)

    @property
    def resumed(self) -> bool:
        """An interrupted restore left the disks half written: they are compared, then written."""
        return self._earlier is not None

    def check(self, run: Run) -> None:
        """See `RestoreSteps.check`: map nodes, and packs with their footers.

        Of a disk whose changes are tracked those that are of another backup than it is now; what
        was written since is looked at when the server is stopped.
        """
        for disk in self.plan.written:
            reader = self._reader(disk)
            reader.state(0)
            if disk.way is Way.DIFFERENCE:
                try:
                    base = self._base(disk)
                    for fetch in reader.fetches(reader.differing_runs(base.image)):
                        check_cancelled(run, "the restore")
                        reader.tell_doubts(fetch)
                except BackupDamaged:  # what differs is needed, whatever the disk is compared with
                    raise
                except (Corrupt, BackupMissing) as error:
                    self._compare(disk, "the backup at which tracking began is damaged", error)
                else:
                    continue
            for fetch in reader.fetches():
                check_cancelled(run, "the restore")
                reader.tell_doubts(fetch)

    def stop(self, run: Run) -> None:
        """See `RestoreSteps.stop`."""
        run.progress(Progress(f"stopping {self._server.name}", 0, 0))
        self._tools.driver.stop(
            self._server.id, timeout_s=self._tools.stop_timeout_s, cancelled=run.cancelled
        )

    def mark(self) -> None:
        """See `RestoreSteps.mark`; after an interrupted restore the first autostart counts."""
        backup, earlier, task_id = self.plan.backup, self._earlier, self._tools.task_id
        with self._tools.catalog.transaction() as transaction:
            if task_id and not tasks.pass_no_return(transaction, backup.project_id, task_id):
                raise OperationCancelled("the restore")
            servers.begin_restore(
                transaction,
                backup.project_id,
                self._server.id,
                UnfinishedRestore(
                    backup_id=backup.id,
                    autostart=earlier.autostart if earlier else self._server.autostart,
                ),
            )
        self._tools.driver.set_autostart(self._server.id, on=False)

    @contextmanager
    def open_disks(self) -> Iterator[Mapping[str, WritableDisk]]:
        """See `RestoreSteps.open_disks`; by now their images may be other ones."""
        now = self._tools.driver.describe(self._server.id)
        for disk in self.plan.written:
            if disk.way is Way.DIFFERENCE and not _is_same(disk, now):
                self._compare(disk, "its image is not what it was when the server was stopped")
        there = [disk for disk in self.plan.written if disk.action is not Action.CREATE]
        with self._opened(there) as opened:
            yield opened

    @contextmanager
    def make_missing(self) -> Iterator[Mapping[str, WritableDisk]]:
        """See `RestoreSteps.make_missing`."""
        with self._opened([disk for disk in self.plan.written if disk.way is Way.ANEW]) as opened:
            yield opened

    @contextmanager
    def _opened(self, disks: Sequence[DiskRestore]) -> Iterator[Mapping[str, WritableDisk]]:
        if not disks:
            yield {}
            return
        wanted = [_to_write(disk) for disk in disks]
        with self._tools.driver.open_for_restore(self._server.id, wanted) as opened:
            yield opened

    def look_through(self, disk: DiskRestore, opened: WritableDisk, run: Run) -> None:
        """See `RestoreSteps.look_through`."""
        run.progress(Progress(f"looking through {disk.target}", 0, 0))
        disk = self._now(disk)
        if disk.way is Way.DIFFERENCE and opened.dirty_context is None:
            self._compare(disk, "its tracking was lost when the server stopped")
            disk = self._now(disk)
        try:
            found = self._look_through(disk, opened, run)
        except BackupDamaged:
            raise
        except (Corrupt, BackupMissing) as error:
            if disk.way is not Way.DIFFERENCE:
                raise
            self._compare(disk, "the backup at which tracking began is damaged", error)
            disk = self._now(disk)
            found = self._look_through(disk, opened, run)
        self._looked[disk.target] = found
        if disk.way is Way.DIFFERENCE and found.target.known is None:
            self._compare(disk, "its size is not that of its last backup")
        elif disk.way is Way.DIFFERENCE and found.target.compare_rest:
            why = "asked for"
            if not self._tools.compare_rest:
                why = "a sample of what tracking calls unchanged has changed"
            self._compare(disk, why)
        if self._now(disk).way is Way.COMPARE and self._tools.repository.damage_known:
            for fetch in self._reader(disk).fetches():  # the last moment before the first write
                self._reader(disk).tell_doubts(fetch)

    def _look_through(self, disk: DiskRestore, opened: WritableDisk, run: Run) -> LookedThrough:
        return look_through(
            self._target(disk, opened),
            self._reader(disk),
            self._tools.sampling,
            turn=disk.tracked.audit_turn if disk.tracked else 0,
            cancelled=run.cancelled,
        )

    def write(self, opened: Mapping[str, WritableDisk], run: Run) -> None:
        """See `RestoreSteps.write`; the first disk that fails ends the others at once."""
        disks, stop = self.plan.written, threading.Event()
        verb = "comparing" if all(disk.way is Way.COMPARE for disk in disks) else "writing"
        meter = JobMeter(verb, [disk.target for disk in disks], run.progress)
        targets = {disk.target: self._looked_at(disk, opened[disk.target]) for disk in disks}
        for disk in disks:
            meter.estimate(disk.target, self._work_bytes(disk))
        options = self._tools.writing

        def write_one(disk: DiskRestore) -> RestoreResult:
            if disk.target in self.holes:
                self.holes[disk.target].begin()
            result = restore_disk(
                targets[disk.target],
                self._reader(disk),
                Restoring(options=options, pool=pool),
                progress=meter.begin(disk.target),
                cancelled=stop.is_set,
            )
            meter.end(disk.target)
            return result

        def keep(disk: DiskRestore, result: RestoreResult) -> None:
            self.results[disk.target] = result

        with (
            options.pool() as pool,
            ThreadPoolExecutor(
                options.disks_at_once, "write-disk", options.begin_thread
            ) as threads,
        ):
            side_by_side(disks, write_one, keep, pool=threads, stop=stop)

    def _looked_at(self, disk: DiskRestore, opened: WritableDisk) -> DiskTarget:
        looked = self._looked.get(disk.target)
        return looked.target if looked else self._target(disk, opened)

    def _work_bytes(self, disk: DiskRestore) -> int:
        looked = self._looked.get(disk.target)
        if looked is not None:
            return looked.work_bytes
        return self._reader(disk).image.nonzero_blocks * BLOCK_SIZE

    def _target(self, disk: DiskRestore, opened: WritableDisk) -> DiskTarget:
        known = None
        if disk.tracked is not None and opened.dirty_context is not None:
            known = KnownSince(
                base=self._base(disk),
                dirty_context=opened.dirty_context,
                also_dirty=disk.tracked.also_dirty,
            )
        return DiskTarget(
            disk=f"{disk.target} of server {self.plan.backup.server_name}",
            uri=opened.uri,
            image_size_bytes=self._reader(disk).image.size_bytes,
            fresh=disk.way is Way.ANEW,
            known=known,
            compare_rest=self._tools.compare_rest,
        )

    def _now(self, disk: DiskRestore) -> DiskRestore:
        """The disk as it is planned by now."""
        return next(each for each in self.plan.written if each.target == disk.target)

    def _compare(self, disk: DiskRestore, why: str, error: Exception | None = None) -> None:
        log.warning(
            "a disk is compared with the backup",
            extra={"disk": disk.target, "why": f"{why}: {error}" if error else why},
        )
        disks = (
            each.compared(why) if each.target == disk.target and each.way else each
            for each in self.plan.disks
        )
        self.plan = replace(self.plan, disks=tuple(disks))

    def _base(self, disk: DiskRestore) -> ImageReader:
        """The image that the disk is, but for what was tracked since."""
        assert disk.tracked is not None
        assert disk.tracked.parent_id is not None
        with self._tools.catalog.transaction() as transaction:
            base = backups.get(transaction, self.plan.backup.project_id, disk.tracked.parent_id)
        image = self._tools.repository.manifest(base.manifest_key).image(disk.tracked.disk_id)
        assert image is not None, "a parent has the disk"
        return self._tools.repository.reader(image)

    def _reader(self, disk: DiskRestore) -> ImageReader:
        found = self._readers.get(disk.target)
        if found is None:
            assert disk.disk_id is not None
            manifest = self._tools.repository.manifest(self.plan.backup.manifest_key)
            image = manifest.image(disk.disk_id)
            assert image is not None, "the plan has disks of the backup only"
            on_loss: OnLoss = Refusal(self.plan.backup, disk.target)
            if self._tools.allow_holes:
                on_loss = self.holes[disk.target] = Holes(image.size_bytes)
            found = self._readers[disk.target] = self._tools.repository.reader(image, on_loss)
        return found

    def unmark(self) -> None:
        """See `RestoreSteps.unmark`.

        First the next backup is told of what was lost: a block that is written again with what the
        backup had must be stored anew.
        """
        lost = damage_of(place for holes in self.holes.values() for place in holes.places)
        if lost:
            self._tools.repository.doubt(lost, found_at=self._tools.clock())
        autostart = self._earlier.autostart if self._earlier else self._server.autostart
        if autostart:
            self._tools.driver.set_autostart(self._server.id, on=True)
        backup = self.plan.backup
        with self._tools.catalog.transaction() as transaction:
            servers.end_restore(transaction, backup.project_id, self._server.id)

    def start(self) -> None:
        """See `RestoreSteps.start`."""
        self._tools.driver.start(self._server.id)

    def back_out(self) -> None:
        """See `RestoreSteps.back_out`; a server that an earlier restore left stays as it is."""
        server, driver = self._server, self._tools.driver
        if self._earlier is not None:
            return
        driver.clean_up(server.id)  # images that were opened are let go
        project_id, task_id = self.plan.backup.project_id, self._tools.task_id
        with self._tools.catalog.transaction() as transaction:
            servers.end_restore(transaction, project_id, server.id)
            if task_id:
                tasks.take_back_no_return(transaction, project_id, task_id)
        if server.autostart:
            driver.set_autostart(server.id, on=True)
        if server.state is not ServerState.RUNNING and not self._tools.was_running:
            return
        if driver.describe(server.id).state is ServerState.STOPPED:
            driver.start(server.id)
        else:
            log.warning(
                "the server was asked to shut down and may still do so",
                extra={"server": server.name},
            )


def _to_write(disk: DiskRestore) -> DiskToWrite:
    assert disk.disk is not None
    size_bytes = disk.size_bytes if disk.action is Action.CREATE else None
    since = disk.tracked.since if disk.tracked else None
    return DiskToWrite(disk=disk.disk, create_size_bytes=size_bytes, since=since)


def _is_same(disk: DiskRestore, server: ServerDescription) -> bool:
    """Whether the disk's image is the one that was planned with."""
    now = server.disk(disk.target)
    assert disk.disk is not None
    return now is not None and (now.source, now.size_bytes, now.image_identity) == (
        disk.disk.source,
        disk.disk.size_bytes,
        disk.disk.image_identity,
    )
