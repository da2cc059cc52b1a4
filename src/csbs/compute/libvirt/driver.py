"""The driver for libvirt and QEMU: `ComputeDriver` on one host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from csbs.compute.base import BackupJob, DiskToWrite, HostCheck, JobRequest, WritableDisk, never
from csbs.compute.libvirt import clean_up, describing, live_job, restoring, stopped_job
from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import CALL_TIMEOUT_S, Connection
from csbs.compute.libvirt.describing import DomainFacts
from csbs.compute.libvirt.domain_xml import definition_with, qemu_owner
from csbs.compute.libvirt.folders import HostFolders, QemuUser
from csbs.compute.libvirt.freezing import Freezing
from csbs.compute.libvirt.guard import ScratchLimits
from csbs.compute.libvirt.host_checks import host_checks
from csbs.compute.libvirt.live_job import LiveParts
from csbs.compute.libvirt.power import Power
from csbs.compute.libvirt.stopped_job import StoppedDisk
from csbs.compute.libvirt.thaw_debt import debt_file, pay_late_thaw
from csbs.compute.libvirt.tracking import Tracking
from csbs.domain.clock import Clock, Monotonic, NewId, Sleep, monotonic, new_id, sleep, utc_now
from csbs.domain.errors import DriverFailed, ServerStateRefused
from csbs.domain.ids import ServerId, TrackingName, tracking_name
from csbs.domain.server import ServerDescription, ServerRef, TrackingReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """What the driver asks the machine for, and how long a call to libvirt may take."""

    call_timeout_s: float = CALL_TIMEOUT_S
    clock: Clock = utc_now
    monotonic: Monotonic = monotonic
    sleep: Sleep = sleep
    new_id: NewId = new_id
    scratch_limits: ScratchLimits = field(default_factory=ScratchLimits)
    #: How long a guest's file systems may be frozen.
    freeze_budget_s: float = 3.0
    #: Of the qemu-nbd processes that serve images.
    low_priority: bool = False
    #: Opens the connection; None: as libvirt does.
    open_uri: Callable[[str], libvirt.virConnect] | None = None


class LibvirtDriver:
    """See `ComputeDriver`.  Connects at its first use, and anew when libvirtd was restarted."""

    def __init__(
        self,
        uri: str,
        *,
        run_folder: Path,
        scratch_folder: Path,
        options: DriverOptions | None = None,
    ) -> None:
        """Both folders are made when they are needed; QEMU's user must be able to enter them."""
        options = options or DriverOptions()
        self._connection = Connection(
            uri, timeout_s=options.call_timeout_s, open_uri=options.open_uri
        )
        self._folders = HostFolders(run=run_folder, scratch=scratch_folder)
        self._tracking = Tracking(self._connection, options.clock)
        self._parts = LiveParts(
            connection=self._connection,
            folders=self._folders,
            tracking=self._tracking,
            sleep=options.sleep,
            scratch_limits=options.scratch_limits,
            freezing=Freezing(
                connection=self._connection,
                folders=self._folders,
                budget_s=options.freeze_budget_s,
                monotonic=options.monotonic,
                sleep=options.sleep,
                new_id=options.new_id,
            ),
        )
        self._power = Power(self._connection, monotonic=options.monotonic, sleep=options.sleep)
        self._new_id = options.new_id
        self._low_priority = options.low_priority

    def list_refs(self) -> list[ServerRef]:
        """See `ComputeDriver.list_refs`."""
        return describing.list_refs(self._connection)

    def list_servers(self) -> list[ServerDescription]:
        """See `ComputeDriver.list_servers`."""
        return describing.list_servers(self._connection)

    def describe(self, server_id: ServerId) -> ServerDescription:
        """See `ComputeDriver.describe`."""
        return describing.described(
            self._connection, describing.facts_of(self._connection, server_id)
        )

    def tracking(self, server_id: ServerId) -> TrackingReport:
        """See `ComputeDriver.tracking`."""
        return self._tracking.report(server_id)

    def begin_backup(self, request: JobRequest) -> BackupJob:
        """See `ComputeDriver.begin_backup`."""
        facts = describing.facts_of(self._connection, request.server_id)
        self._folders.prepare(request.server_id, self._qemu_user(), scratch=facts.active)
        if facts.active:
            trackable = [disk.target for disk in facts.now.disks if describing.takes_bitmaps(disk)]
            return live_job.begin_live(self._parts, request, trackable, unique=self._unique())
        return stopped_job.begin_stopped(
            self._tracking,
            facts.server,
            self._stopped_disks(facts, request),
            name=tracking_name(request.backup_id),
            files=self._folders.run_of(request.server_id) / self._unique(),
        )

    def go_on_stopped(self, request: JobRequest) -> BackupJob:
        """See `ComputeDriver.go_on_stopped`."""
        facts = describing.facts_of(self._connection, request.server_id)
        if facts.active:
            raise ServerStateRefused(facts.now.name, facts.state, "going on with its backup")
        self._folders.prepare(request.server_id, self._qemu_user(), scratch=False)
        return stopped_job.go_on_stopped(
            self._tracking,
            facts.server,
            self._stopped_disks(facts, request),
            name=tracking_name(request.backup_id),
            files=self._folders.run_of(request.server_id) / self._unique(),
        )

    def retire_tracking(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        """See `ComputeDriver.retire_tracking`."""
        self._tracking.retire(server_id, names)

    def pay_thaw(self, server_id: ServerId) -> str | None:
        """See `ComputeDriver.pay_thaw`."""
        debt = debt_file(self._folders, server_id)
        return pay_late_thaw(
            self._connection, debt, server_id, now_s=self._parts.freezing.monotonic()
        )

    def clean_up(self, server_id: ServerId) -> list[str]:
        """See `ComputeDriver.clean_up`."""
        return clean_up.clean_up(self._parts, server_id)

    @contextmanager
    def open_for_restore(
        self, server_id: ServerId, disks: Sequence[DiskToWrite]
    ) -> Iterator[Mapping[str, WritableDisk]]:
        """See `ComputeDriver.open_for_restore`."""
        facts = describing.facts_of(self._connection, server_id)
        if facts.active:
            raise ServerStateRefused(facts.now.name, facts.state, "writing to its disks")
        qemu = self._qemu_user()
        self._folders.prepare(server_id, qemu, scratch=False)
        files = self._folders.run_of(server_id) / self._unique()
        asked = self._tracking.only_usable(server_id, disks)
        with restoring.open_for_restore(
            facts.server, asked, qemu=qemu, files=files, low_priority=self._low_priority
        ) as opened:
            yield opened

    def stop(
        self, server_id: ServerId, *, timeout_s: float, cancelled: Callable[[], bool] = never
    ) -> str:
        """See `ComputeDriver.stop`."""
        return self._power.stop(server_id, timeout_s=timeout_s, cancelled=cancelled)

    def start(self, server_id: ServerId) -> None:
        """See `ComputeDriver.start`."""
        self._power.start(server_id)

    def set_autostart(self, server_id: ServerId, *, on: bool) -> None:
        """See `ComputeDriver.set_autostart`."""
        self._connection.on_domain(
            server_id, "setting autostart", lambda domain: domain.setAutostart(int(on))
        )

    def definition_with(
        self, definition_xml: str, images: Mapping[str, Path], *, image_format: str
    ) -> str:
        """See `ComputeDriver.definition_with`."""
        return definition_with(definition_xml, images, image_format=image_format)

    def host_checks(self) -> list[HostCheck]:
        """See `ComputeDriver.host_checks`."""
        return host_checks(self._connection, self._folders, self._qemu_user)

    def _qemu_user(self) -> QemuUser:
        capabilities = self._connection.call(
            "asking for capabilities", lambda opened: opened.getCapabilities()
        )
        return QemuUser(*qemu_owner(capabilities))

    def _stopped_disks(self, facts: DomainFacts, request: JobRequest) -> list[StoppedDisk]:
        return [
            replace(_stopped_disk(facts, each.target, each.since), low_priority=self._low_priority)
            for each in request.disks
        ]

    def _unique(self) -> str:
        """Short, since the path of a socket may have 107 bytes."""
        return self._new_id()[:8]


def _stopped_disk(facts: DomainFacts, target: str, since: TrackingName | None) -> StoppedDisk:
    name = facts.now.name
    disk = next((each for each in facts.now.disks if each.target == target), None)
    if disk is None:
        raise DriverFailed(name, target, "the backup", "the server has no such disk")
    if disk.source is None:
        raise DriverFailed(
            name,
            target,
            "the backup",
            "its image is not a local file or device: start the server, then back it up",
        )
    return StoppedDisk(
        disk=disk, path=disk.source, since=since, trackable=describing.takes_bitmaps(disk)
    )
