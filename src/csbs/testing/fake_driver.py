"""A `ComputeDriver` without libvirt, for tests of workflows.

Disks are real qcow2 files with real persistent bitmaps, served by real qemu-nbd; only the servers
are made up.  A job serves copies of the images, so its view stays while the "server" writes on.
Every call is recorded, and may fail by script (`Faults`, with the server's name as key).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from csbs.blockio.processes import run_tool
from csbs.blockio.qemu_img import ImageInfo, add_bitmap, create_image, image_info, remove_bitmap
from csbs.blockio.qemu_nbd import NbdImage, QemuNbd, start_qemu_nbd
from csbs.compute.base import (
    BackupJob,
    DiskExport,
    DiskToWrite,
    HostCheck,
    JobRequest,
    WritableDisk,
    never,
)
from csbs.compute.libvirt.clean_up import end_recorded
from csbs.compute.libvirt.describing import image_identity
from csbs.compute.libvirt.folders import QemuUser
from csbs.compute.libvirt.restoring import open_for_restore
from csbs.domain.clock import NewId
from csbs.domain.consistency import (
    Consistency,
    FreezeEvidence,
    ReachedConsistency,
    crash_only,
)
from csbs.domain.errors import (
    DriverFailed,
    OperationCancelled,
    ServerNotFound,
    ServerPoweredOff,
    ServerStartFailed,
    ServerStateRefused,
    TrackingLost,
)
from csbs.domain.ids import ServerId, TrackingName, tracking_name
from csbs.domain.server import (
    DiskDescription,
    ServerDescription,
    ServerRef,
    ServerState,
    TrackingFault,
    TrackingReport,
)
from csbs.testing.faults import Faults

_TOOL_TIMEOUT_S = 60.0
#: How the names of a job's files begin, in the folder of its server.
_JOB = "job-"


@dataclass(slots=True, kw_only=True)
class FakeServer:
    """A made-up server; its methods are what happens at the server itself."""

    id: ServerId
    name: str
    folder: Path
    targets: tuple[str, ...]
    state: ServerState = ServerState.STOPPED
    autostart: bool = False
    checkpoints: list[TrackingName] = field(default_factory=list)
    #: Its guest agent can freeze file systems.
    has_agent: bool = False
    #: That agent starts the watchdog too.
    has_watchdog: bool = True
    #: TrackingPoints whose bitmaps count as broken.
    broken: set[TrackingName] = field(default_factory=set)
    #: Jobs that end with the running server.
    live_jobs: list[FakeJob] = field(default_factory=list)
    #: Told of each change of what is above: a host may keep it for its next process.
    changed: Callable[[FakeServer], None] = lambda _: None

    def path(self, target: str) -> Path:
        """The image of a disk."""
        return self.folder / f"{target}.qcow2"

    def start(self) -> None:
        """The server runs, whatever the driver thinks of it."""
        self.state = ServerState.RUNNING
        self.changed(self)

    def power_off(self) -> None:
        """The server shuts itself down."""
        self.state = ServerState.STOPPED
        self.changed(self)
        while self.live_jobs:
            self.live_jobs.pop().end()

    def kill(self) -> None:
        """A power cut: bitmaps that were open are broken."""
        if self.state is not ServerState.STOPPED:
            self.broken.update(self.checkpoints)
        self.power_off()

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """Writes one byte value over a range."""
        self._io(target, f"write -P {pattern} {offset} {size}")

    def zero(self, target: str, *, offset: int, size: int) -> None:
        """Writes zeroes without data, as a trim does."""
        self._io(target, f"write -z {offset} {size}")

    def resize(self, target: str, *, size_bytes: int) -> None:
        """Gives a disk another size, as an operator does."""
        path = str(self.path(target))
        run_tool(
            ["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size_bytes)],
            doing=f"resizing {path}",
            timeout_s=_TOOL_TIMEOUT_S,
        )

    def write_unseen(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """A write that the bitmaps of the disk do not hear of."""
        names = [each.name for each in image_info(self.path(target), image_format="qcow2").bitmaps]
        for name in names:
            self._bitmap("--disable", target, name)
        self.write(target, offset=offset, size=size, pattern=pattern)
        for name in names:
            self._bitmap("--enable", target, name)

    def _bitmap(self, change: str, target: str, name: str) -> None:
        path = str(self.path(target))
        run_tool(
            ["qemu-img", "bitmap", change, "-f", "qcow2", path, name],
            doing=f"changing a bitmap of {path}",
            timeout_s=_TOOL_TIMEOUT_S,
        )

    def content(self, target: str) -> bytes:
        """All bytes of a disk."""
        raw = self.folder / f"{target}.content"
        source = str(self.path(target))
        run_tool(
            ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", source, str(raw)],
            doing=f"reading {source}",
            timeout_s=_TOOL_TIMEOUT_S,
        )
        content = raw.read_bytes()
        raw.unlink()
        return content

    def _io(self, target: str, command: str) -> None:
        run_tool(
            ["qemu-io", "-f", "qcow2", "-c", command, str(self.path(target))],
            doing=command,
            timeout_s=_TOOL_TIMEOUT_S,
        )


class FakeJob:
    """See `BackupJob`."""

    def __init__(
        self,
        server: FakeServer,
        name: TrackingName,
        nbd: Mapping[str, QemuNbd],
        exports: Mapping[str, DiskExport],
        retire: Callable[[], None],
    ) -> None:
        self._server = server
        self._name = name
        self._nbd = nbd
        self._exports = exports
        self._retire = retire
        self.consistency = ReachedConsistency(level=Consistency.CRASH)
        self.holds_images = server.state is ServerState.STOPPED
        self.ended = False
        if not self.holds_images:
            server.live_jobs.append(self)

    @property
    def exports(self) -> Mapping[str, DiskExport]:
        """See `BackupJob.exports`."""
        return self._exports

    @property
    def tracking(self) -> TrackingName | None:
        """See `BackupJob.tracking`."""
        return self._name

    def check(self, *, after_failure: bool = False, cancelled: Callable[[], bool] = never) -> None:
        """See `BackupJob.check`."""
        del after_failure, cancelled  # a made-up host knows at once
        if self.ended and not self.holds_images and self._server.state is ServerState.STOPPED:
            raise ServerPoweredOff(self._server.name)
        if self.ended:
            raise DriverFailed(
                self._server.name, "", "the backup", "the job ended, or the server started again"
            )

    def end(self) -> None:
        """See `BackupJob.end`."""
        self.ended = True
        for nbd in self._nbd.values():
            nbd.stop()

    def abandon(self) -> None:
        """See `BackupJob.abandon`."""
        self.end()
        self._retire()


class FakeDriver:
    """See `ComputeDriver`."""

    def __init__(self, folder: Path, *, new_id: NewId, faults: Faults | None = None) -> None:
        """`folder` gets images and sockets: its path must be short (sockets: 107 bytes)."""
        self._folder = folder
        self._new_id = new_id
        self._faults = faults or Faults()
        self._servers: dict[ServerId, FakeServer] = {}
        self._jobs: list[tuple[ServerId, FakeJob]] = []
        #: Names of the calls so far.
        self.calls: list[str] = []
        #: Is told the name of each call before it is done: here the server may write on.
        self.before_call: Callable[[str], None] = lambda _: None
        #: Disks of coming jobs whose bytes cannot be read.
        self.unreadable: set[str] = set()

    def add_server(self, name: str, disks: Mapping[str, int]) -> FakeServer:
        """A stopped server with empty disks (sizes in bytes by target)."""
        server_id = ServerId(self._new_id())
        folder = self._folder / name
        folder.mkdir(parents=True)
        server = FakeServer(id=server_id, name=name, folder=folder, targets=tuple(disks))
        for target, size_bytes in disks.items():
            create_image(server.path(target), image_format="qcow2", size_bytes=size_bytes)
        self.adopt_server(server)
        return server

    def adopt_server(self, server: FakeServer) -> None:
        """A server that is there already, with what a former process left of its jobs."""
        self._servers[server.id] = server

    def close(self) -> None:
        """Ends all jobs, and what unfinished restores left."""
        for _, job in self._jobs:
            job.end()
        for server in self._servers.values():
            end_recorded(server.id, list(server.folder.glob("*.pid")))

    # --- the port ----------------------------------------------------------------------------

    def list_refs(self) -> list[ServerRef]:
        """See `ComputeDriver.list_refs`."""
        return [ServerRef(each.id, each.name) for each in self.list_servers()]

    def list_servers(self) -> list[ServerDescription]:
        """See `ComputeDriver.list_servers`."""
        self._begin("list_servers", "")
        found = sorted(self._servers.values(), key=lambda server: server.name)
        return [_described(server) for server in found]

    def describe(self, server_id: ServerId) -> ServerDescription:
        """See `ComputeDriver.describe`."""
        return _described(self._called("describe", server_id))

    def tracking(self, server_id: ServerId) -> TrackingReport:
        """See `ComputeDriver.tracking`."""
        server = self._called("tracking", server_id)
        held = {target: _bitmaps(server, target) for target in server.targets}
        good = set(server.checkpoints) - server.broken
        return TrackingReport(
            checkpoints=tuple(server.checkpoints),
            usable={target: frozenset(names & good) for target, names in held.items()},
            broken={
                target: dict.fromkeys(names - good, TrackingFault.NOT_CLOSED)
                for target, names in held.items()
            },
        )

    def begin_backup(self, request: JobRequest) -> BackupJob:
        """See `ComputeDriver.begin_backup`."""
        server = self._called("begin_backup", request.server_id)
        name = tracking_name(request.backup_id)
        self._refuse_lost_tracking(server, request)
        with self._served(server, request) as served:
            server.checkpoints.append(name)
            server.changed(server)
            for disk in request.disks:
                add_bitmap(server.path(disk.target), name)
        return self._job(server, request, served)

    def go_on_stopped(self, request: JobRequest) -> BackupJob:
        """See `ComputeDriver.go_on_stopped`."""
        server = self._called("go_on_stopped", request.server_id)
        if server.state is not ServerState.STOPPED:
            raise ServerStateRefused(server.name, server.state, "going on with its backup")
        name = tracking_name(request.backup_id)
        self._refuse_lost_tracking(server, request)
        for disk in request.disks:
            self._require_tracking(server, disk.target, name)
        with self._served(server, request) as served:
            return self._job(server, request, served)

    def retire_tracking(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        """See `ComputeDriver.retire_tracking`."""
        _retire(self._called("retire_tracking", server_id), names)

    def pay_thaw(self, server_id: ServerId) -> str | None:
        """See `ComputeDriver.pay_thaw`; a made-up freeze leaves no debt."""
        self._called("pay_thaw", server_id)
        return None

    def clean_up(self, server_id: ServerId) -> list[str]:
        """See `ComputeDriver.clean_up`."""
        server = self._called("clean_up", server_id)
        left = self._open_jobs(server)
        for job in left:
            job.end()
        ended = end_recorded(server_id, list(server.folder.glob("*.pid")))
        for file in server.folder.glob(f"{_JOB}*"):
            file.unlink()
        return ["ended a backup job"] * len(left) + ended

    @contextmanager
    def open_for_restore(
        self, server_id: ServerId, disks: Sequence[DiskToWrite]
    ) -> Iterator[Mapping[str, WritableDisk]]:
        """See `ComputeDriver.open_for_restore`."""
        server = self._called("open_for_restore", server_id)
        if server.state is not ServerState.STOPPED:
            raise ServerStateRefused(server.name, server.state, "writing to its disks")
        owner = server.folder.stat()
        with open_for_restore(
            ServerRef(server.id, server.name),
            [self._only_usable(server, each) for each in disks],
            qemu=QemuUser(owner.st_uid, owner.st_gid),
            files=server.folder / f"{_JOB}{self._new_id()[:8]}",
        ) as opened:
            yield opened

    def stop(
        self, server_id: ServerId, *, timeout_s: float, cancelled: Callable[[], bool] = never
    ) -> str:
        """See `ComputeDriver.stop`."""
        del timeout_s  # made-up servers stop at once
        server = self._called("stop", server_id)
        if cancelled():
            raise OperationCancelled("stopping the server")
        if server.state is ServerState.STOPPED:
            return "already stopped"
        server.power_off()
        return "acpi"

    def start(self, server_id: ServerId) -> None:
        """See `ComputeDriver.start`."""
        server = self._called("start", server_id)
        if any(job.holds_images for job in self._open_jobs(server)):
            raise ServerStartFailed(server.name, "its images are locked")
        server.start()

    def set_autostart(self, server_id: ServerId, *, on: bool) -> None:
        """See `ComputeDriver.set_autostart`."""
        server = self._called("set_autostart", server_id)
        server.autostart = on
        server.changed(server)

    def definition_with(
        self, definition_xml: str, images: Mapping[str, Path], *, image_format: str
    ) -> str:
        """See `ComputeDriver.definition_with`."""
        return f"{definition_xml} {image_format} {[str(path) for path in images.values()]}"

    def host_checks(self) -> list[HostCheck]:
        """See `ComputeDriver.host_checks`."""
        self._begin("host_checks", "")
        return [HostCheck(name="fake", ok=True, found="no host at all")]

    # --- inside ------------------------------------------------------------------------------

    def _begin(self, call: str, key: str) -> None:
        self.before_call(call)
        self.calls.append(call)
        fault = self._faults.take(call, key)
        if fault is not None:
            raise fault[0]

    def _called(self, call: str, server_id: ServerId) -> FakeServer:
        server = self._servers.get(server_id)
        self._begin(call, server.name if server else "")
        if server is None:
            raise ServerNotFound(server_id)
        return server

    def _open_jobs(self, server: FakeServer) -> list[FakeJob]:
        return [job for owner, job in self._jobs if owner == server.id and not job.ended]

    def _only_usable(self, server: FakeServer, disk: DiskToWrite) -> DiskToWrite:
        good = _bitmaps(server, disk.disk.target) & set(server.checkpoints) - server.broken
        return disk if disk.since in good else replace(disk, since=None)

    def _refuse_lost_tracking(self, server: FakeServer, request: JobRequest) -> None:
        for disk in request.disks:
            if disk.since:
                self._require_tracking(server, disk.target, disk.since)

    def _require_tracking(self, server: FakeServer, target: str, name: TrackingName) -> None:
        good = set(server.checkpoints) - server.broken
        if name not in _bitmaps(server, target) & good:
            raise TrackingLost(server.name, f"{target} has no usable {name}")

    @contextmanager
    def _served(self, server: FakeServer, request: JobRequest) -> Iterator[dict[str, QemuNbd]]:
        """Copies of the images, served; no longer if the body fails."""
        with ExitStack() as undo:
            yield {
                disk.target: undo.enter_context(self._serve_copy(server, disk.target, disk.since))
                for disk in request.disks
            }
            undo.pop_all()

    def _job(
        self, server: FakeServer, request: JobRequest, served: Mapping[str, QemuNbd]
    ) -> FakeJob:
        exports = {
            disk.target: DiskExport(
                target=disk.target,
                uri=served[disk.target].uri,
                size_bytes=_info(server, disk.target).virtual_size_bytes,
                dirty_context=f"qemu:dirty-bitmap:{disk.since}" if disk.since else None,
                tracked=True,
            )
            for disk in request.disks
        }
        for target in self.unreadable & served.keys():
            served[target].stop()
        name = tracking_name(request.backup_id)
        job = FakeJob(server, name, served, exports, lambda: _retire(server, [name]))
        job.consistency = _reached(server, request)
        self._jobs.append((server.id, job))
        return job

    def _serve_copy(self, server: FakeServer, target: str, since: TrackingName | None) -> QemuNbd:
        unique = f"{_JOB}{self._new_id()[:8]}"
        copy = server.folder / f"{unique}.qcow2"
        shutil.copyfile(server.path(target), copy)
        try:
            return start_qemu_nbd(
                NbdImage(
                    path=str(copy), format="qcow2", export=target, read_only=True, bitmap=since
                ),
                socket=server.folder / f"{unique}.sock",
                pid_file=server.folder / f"{unique}.pid",
            )
        finally:
            copy.unlink()  # qemu-nbd has it open


def _reached(server: FakeServer, request: JobRequest) -> ReachedConsistency:
    asked = request.consistency
    if asked is Consistency.CRASH:
        return ReachedConsistency(level=asked)
    if server.state is not ServerState.RUNNING or not server.has_agent:
        return crash_only("the server has no guest agent")
    if not (server.has_watchdog or request.freeze_without_watchdog):
        return crash_only("the guest agent does not allow guest-exec")
    evidence = FreezeEvidence(file_systems=2, frozen_ms=250, frozen_in_guest_ms=200)
    return ReachedConsistency(level=asked, freeze=evidence)


def _described(server: FakeServer) -> ServerDescription:
    return ServerDescription(
        id=server.id,
        name=server.name,
        state=server.state,
        disks=tuple(_described_disk(server, target) for target in server.targets),
        autostart=server.autostart,
        definition_xml=f"<domain><name>{server.name}</name></domain>",
        vcpus=2,
        memory_bytes=2 * 1024**3,
    )


def _described_disk(server: FakeServer, target: str) -> DiskDescription:
    path = server.path(target)
    info = _info(server, target) if path.exists() else None
    return DiskDescription(
        target=target,
        source=str(path),
        format="qcow2",
        size_bytes=info.virtual_size_bytes if info else 0,
        image_identity=image_identity(str(path), info) if info else None,
        bootable=target == server.targets[0],
        missing=info is None,
        trackable=info is not None,
    )


def _info(server: FakeServer, target: str) -> ImageInfo:
    return image_info(server.path(target), image_format="qcow2")


def _bitmaps(server: FakeServer, target: str) -> set[TrackingName]:
    if not server.path(target).exists():
        return set()
    return {TrackingName(each.name) for each in _info(server, target).bitmaps}


def _retire(server: FakeServer, names: Collection[TrackingName]) -> None:
    for target in server.targets:
        for name in _bitmaps(server, target) & set(names):
            remove_bitmap(server.path(target), name)
    server.checkpoints = [name for name in server.checkpoints if name not in names]
    server.broken -= set(names)
    server.changed(server)
