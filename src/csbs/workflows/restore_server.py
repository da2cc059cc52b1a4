"""Restoring a server's disks in place.

stop      the server is shut down
mark      from here on the server must not start: its disks may be half old and half new
write     every disk, through qemu-nbd, so that its change tracking goes on; after an interrupted
          restore only what differs
unmark    the disks are whole
start     unless the caller says no
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from csbs.agent.restore_disk import DiskTarget, RestoreOptions, RestoreResult, restore_disk
from csbs.catalog import Catalog, servers
from csbs.catalog.servers import UnfinishedRestore
from csbs.compute.base import ComputeDriver, DiskToWrite, never
from csbs.domain.restore_plan import Action, DiskRestore, RestorePlan
from csbs.domain.server import ServerDescription, ServerState
from csbs.domain.task import Progress
from csbs.repository import Image, Repository
from csbs.workflows.run import Run, check_cancelled

log = logging.getLogger(__name__)


class RestoreSteps(Protocol):
    """The steps of one restore; each may happen twice."""

    def check(self) -> None:
        """Makes sure that all that will be read is there."""

    def stop(self, run: Run) -> None:
        """Shuts the server down; ends early if the run is cancelled."""

    def mark(self) -> None:
        """Records that the disks may be half written, and keeps the server from starting."""

    def open_disks(self) -> AbstractContextManager[Mapping[str, str]]:
        """Opens the disks that are written; NBD URIs by target."""

    def write(self, disk: DiskRestore, uri: str, run: Run) -> None:
        """Makes one disk as it was."""

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
    or another one has written all disks.  Nothing is marked before all disks are open, so a disk
    that cannot be opened leaves the server as it was.
    """
    marked = False
    run.step("check", do.check)
    try:
        run.step("stop", do.stop, run)
        check_cancelled(run, "the restore")
        with do.open_disks() as uris:
            run.step("mark", do.mark)
            marked = True
            for disk in plan.written:
                run.step(f"write {disk.target}", do.write, disk, uris[disk.target], run)
    except Exception:
        if not marked:
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
    #: How long the server may take to shut down before it is forced.
    stop_timeout_s: float


class ServerRestore:
    """The steps of one restore of a real server."""

    def __init__(self, plan: RestorePlan, server: ServerDescription, tools: RestoreTools) -> None:
        self._plan = plan
        self._server = server
        self._tools = tools
        self._done_bytes = 0
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

    def check(self) -> None:
        """See `RestoreSteps.check`: every map node, and every pack with its footer."""
        for disk in self._plan.written:
            for _ in self._tools.repository.reader(self._image(disk)).fetches():
                pass

    def stop(self, run: Run) -> None:
        """See `RestoreSteps.stop`."""
        run.progress(Progress(f"stopping {self._server.name}", 0, 0))
        self._tools.driver.stop(
            self._server.id, timeout_s=self._tools.stop_timeout_s, cancelled=run.cancelled
        )

    def mark(self) -> None:
        """See `RestoreSteps.mark`; after an interrupted restore the first autostart counts."""
        backup, earlier = self._plan.backup, self._earlier
        with self._tools.catalog.transaction() as transaction:
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

    def open_disks(self) -> AbstractContextManager[Mapping[str, str]]:
        """See `RestoreSteps.open_disks`."""
        return self._tools.driver.open_for_restore(
            self._server.id, [_to_write(disk) for disk in self._plan.written]
        )

    def write(self, disk: DiskRestore, uri: str, run: Run) -> None:
        """See `RestoreSteps.write`."""
        backup = self._plan.backup
        image = self._image(disk)
        total_bytes = sum(each.size_bytes for each in self._plan.written)

        def report(progress: Progress) -> None:
            share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
            done_bytes = self._done_bytes + int(share * disk.size_bytes)
            doing = "comparing" if self.resumed else "writing"
            run.progress(Progress(f"{doing} {disk.target}", done_bytes, total_bytes))

        self.results[disk.target] = restore_disk(
            DiskTarget(
                disk=f"{disk.target} of server {backup.server_name}",
                uri=uri,
                image_size_bytes=image.size_bytes,
                compare=self.resumed,
            ),
            self._tools.repository.reader(image),
            self._tools.writing,
            progress=report,
            cancelled=never,
        )
        self._done_bytes += disk.size_bytes

    def _image(self, disk: DiskRestore) -> Image:
        assert disk.disk_id is not None
        manifest = self._tools.repository.manifest(self._plan.backup.manifest_key)
        image = manifest.image(disk.disk_id)
        assert image is not None, "the plan has disks of the backup only"
        return image

    def unmark(self) -> None:
        """See `RestoreSteps.unmark`."""
        autostart = self._earlier.autostart if self._earlier else self._server.autostart
        if autostart:
            self._tools.driver.set_autostart(self._server.id, on=True)
        backup = self._plan.backup
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
        with self._tools.catalog.transaction() as transaction:
            servers.end_restore(transaction, self._plan.backup.project_id, server.id)
        if server.autostart:
            driver.set_autostart(server.id, on=True)
        if server.state is not ServerState.RUNNING:
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
    return DiskToWrite(disk=disk.disk, create_size_bytes=size_bytes)
