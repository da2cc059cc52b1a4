"""Backup of a stopped server: its images, served read-only by qemu-nbd.

As long as the job is open the server cannot start: qemu-nbd locks the images, and we do where it
lets others write (raw).  The new TrackingPoint
begins just before the images are opened: should the server run in between, its writes are both in
the backup and in the next one's changes, which costs a little and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from csbs.blockio.image_lock import nobody_writes
from csbs.blockio.qemu_img import image_info
from csbs.blockio.qemu_nbd import NbdImage, QemuNbd, start_qemu_nbd
from csbs.compute.base import DiskExport, never
from csbs.compute.libvirt.domain_xml import DiskXml
from csbs.compute.libvirt.tracking import Tracking
from csbs.domain.consistency import ReachedConsistency, crash_only
from csbs.domain.errors import DriverFailed, ToolFailed
from csbs.domain.ids import TrackingName
from csbs.domain.server import ServerRef


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedDisk:
    """A disk of a stopped server, as it is asked for."""

    disk: DiskXml
    #: Path of the image; network disks have none and are refused before this.
    path: str
    since: TrackingName | None
    trackable: bool
    #: Of the process that serves it.
    low_priority: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What a job holds until its end."""

    nbd: Mapping[str, QemuNbd]
    exports: Mapping[str, DiskExport]
    locks: ExitStack


class StoppedJob:
    """See `BackupJob`."""

    def __init__(
        self, tracking: Tracking, server: ServerRef, name: TrackingName | None, opened: _Opened
    ) -> None:
        self._tracking_points = tracking
        self._server = server
        self._name = name
        self._opened = opened

    @property
    def exports(self) -> Mapping[str, DiskExport]:
        """See `BackupJob.exports`."""
        return self._opened.exports

    @property
    def tracking(self) -> TrackingName | None:
        """See `BackupJob.tracking`."""
        return self._name

    @property
    def consistency(self) -> ReachedConsistency:
        """See `BackupJob.consistency`."""
        return crash_only("the server is stopped: its disks are as it left them")

    def check(self, *, after_failure: bool = False, cancelled: Callable[[], bool] = never) -> None:
        """See `BackupJob.check`."""
        del after_failure, cancelled  # the end of qemu-nbd is seen at once
        for target, nbd in self._opened.nbd.items():
            if not nbd.is_running():
                raise DriverFailed(
                    self._server.name, target, "the backup", "its qemu-nbd has ended"
                )

    def end(self) -> None:
        """See `BackupJob.end`."""
        with ExitStack() as all_of_them:
            all_of_them.callback(self._opened.locks.close)
            for target, nbd in self._opened.nbd.items():
                all_of_them.callback(_stop, nbd, self._server.name, target)

    def abandon(self) -> None:
        """See `BackupJob.abandon`."""
        self.end()
        if self._name is not None:
            self._tracking_points.retire(self._server.id, [self._name])


def begin_stopped(
    tracking: Tracking,
    server: ServerRef,
    disks: Sequence[StoppedDisk],
    *,
    name: TrackingName,
    files: Path,
) -> StoppedJob:
    """Begins the job on a stopped server; see `ComputeDriver.begin_backup`.

    `name` is for the new TrackingPoint, if any disk can have one.  The names of sockets and
    records of processes begin with `files`.
    """
    tracking.require(server, [(each.disk.target, each.since) for each in disks if each.since])
    tracked = [each.disk for each in disks if each.trackable]
    with ExitStack() as undo:
        if tracked:
            tracking.begin_stopped(server.id, name, tracked)
            undo.callback(tracking.retire, server.id, [name])
        opened = _open(server, disks, files)
        undo.pop_all()
    return StoppedJob(tracking, server, name if tracked else None, opened)


def go_on_stopped(
    tracking: Tracking,
    server: ServerRef,
    disks: Sequence[StoppedDisk],
    *,
    name: TrackingName,
    files: Path,
) -> StoppedJob:
    """The same with a TrackingPoint that is there; see `ComputeDriver.go_on_stopped`."""
    tracked = [each.disk.target for each in disks if each.trackable]
    asked = [(each.disk.target, each.since) for each in disks if each.since]
    tracking.require(server, [*asked, *((target, name) for target in tracked)])
    return StoppedJob(tracking, server, name if tracked else None, _open(server, disks, files))


def _open(server: ServerRef, disks: Sequence[StoppedDisk], files: Path) -> _Opened:
    with ExitStack() as undo:
        locks = undo.enter_context(ExitStack())
        for each in disks:
            _lock(locks, each, server)
        nbd = {each.disk.target: undo.enter_context(_serve(each, server, files)) for each in disks}
        exports = {each.disk.target: _export(each, server, nbd[each.disk.target]) for each in disks}
        undo.pop_all()
    return _Opened(nbd=nbd, exports=exports, locks=locks)


def _lock(locks: ExitStack, each: StoppedDisk, server: ServerRef) -> None:
    """qemu-nbd itself keeps nobody from writing to a raw image."""
    try:
        locks.enter_context(nobody_writes(Path(each.path)))
    except ToolFailed as error:
        raise DriverFailed(server.name, each.disk.target, "opening", error.why) from error


def _serve(each: StoppedDisk, server: ServerRef, files: Path) -> QemuNbd:
    target = each.disk.target
    image = NbdImage(
        path=each.path,
        format=each.disk.format,
        export=target,
        read_only=True,
        bitmap=each.since,
        low_priority=each.low_priority,
    )
    try:
        return start_qemu_nbd(
            image,
            socket=files.with_name(f"{files.name}-{target}.sock"),
            pid_file=files.with_name(f"{files.name}-{target}.pid"),
        )
    except ToolFailed as error:
        raise DriverFailed(server.name, target, "opening", error.why) from error


def _export(each: StoppedDisk, server: ServerRef, nbd: QemuNbd) -> DiskExport:
    try:
        info = image_info(each.path, image_format=each.disk.format)
    except ToolFailed as error:
        raise DriverFailed(server.name, each.disk.target, "opening", error.why) from error
    return DiskExport(
        target=each.disk.target,
        uri=nbd.uri,
        size_bytes=info.virtual_size_bytes,
        dirty_context=f"qemu:dirty-bitmap:{each.since}" if each.since else None,
        tracked=each.trackable,
    )


def _stop(nbd: QemuNbd, server_name: str, target: str) -> None:
    try:
        nbd.stop()
    except ToolFailed as error:
        raise DriverFailed(server_name, target, "closing", error.why) from error
