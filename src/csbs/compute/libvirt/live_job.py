"""Backup of a running server: a pull-mode job of libvirt.

QEMU serves all disks as they were when the job began, over one socket.  Before the server
overwrites something, QEMU saves it to scratch files.  The new checkpoint begins in that instant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from csbs.blockio.qemu_nbd import nbd_uri
from csbs.compute.base import DiskExport, JobRequest, never
from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import Connection, message_of
from csbs.compute.libvirt.domain_xml import (
    BackupDisk,
    backup_xml,
    checkpoint_xml,
    export_bitmap,
    job_socket,
    parse_domain,
)
from csbs.compute.libvirt.folders import HostFolders
from csbs.compute.libvirt.freezing import Freezing, begin_frozen
from csbs.compute.libvirt.guard import (
    Guard,
    GuardOrder,
    ScratchLimits,
    is_stuck,
    reason_of,
    require_scratch_space,
    resume_if_stuck,
)
from csbs.compute.libvirt.thaw_debt import debt_file
from csbs.compute.libvirt.tracking import Tracking
from csbs.domain.clock import Sleep
from csbs.domain.consistency import Consistency, ReachedConsistency
from csbs.domain.errors import (
    CsbsError,
    DriverFailed,
    ScratchFull,
    ServerJobRunning,
    ServerNotFound,
    ServerPoweredOff,
    TrackingLost,
)
from csbs.domain.ids import ServerId, TrackingName, tracking_name
from csbs.domain.server import ServerRef

log = logging.getLogger(__name__)

#: What libvirt calls the operation of a job, by number.
_OPERATIONS = (
    "a job",
    "a start",
    "a save",
    "a restore",
    "a migration to this host",
    "a migration",
    "a snapshot",
    "a revert to a snapshot",
    "a dump",
    "a backup",
    "a deletion of a snapshot",
)
#: QEMU drops its copies of overwritten data; nothing has to be written for that.
_END_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.02
#: QEMU closes its NBD server first and then writes its caches; libvirt notices the end of it.
_NOTICE_TIMEOUT_S = 30.0
_NOTICE_INTERVAL_S = 0.2
#: libvirt's number for no run.
_NOT_RUNNING = -1
#: The job is gone a moment before the server counts as stopped.
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveParts:
    """What a job of a running server works with."""

    connection: Connection
    folders: HostFolders
    tracking: Tracking
    sleep: Sleep
    scratch_limits: ScratchLimits
    freezing: Freezing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Where a job's files go, and which disks take a checkpoint."""

    run: Path
    scratch: Path
    unique: str
    trackable: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """Disks and files of one job."""

    #: For errors.
    server_name: str
    #: libvirt's number for this run of QEMU.
    run_id: int
    #: See `GuardOrder.was_stuck`.
    was_stuck: bool
    socket: Path
    disks: tuple[BackupDisk, ...]
    #: Targets that the job does not touch.
    left_out: tuple[str, ...]
    #: Where the guard says why it ended the job.
    report: Path

    def remove_files(self) -> None:
        """Removes what libvirt left of the job's files."""
        for path in (self.socket, self.report, *(disk.scratch for disk in self.disks)):
            path.unlink(missing_ok=True)


class LiveJob:
    """See `BackupJob`."""

    def __init__(
        self,
        parts: LiveParts,
        server_id: ServerId,
        plan: JobPlan,
        tracking: TrackingName | None,
        guard: Guard,
    ) -> None:
        self._parts = parts
        self._server_id = server_id
        self._plan = plan
        self._tracking = tracking
        self._guard = guard
        self._exports: dict[str, DiskExport] = {}
        self._consistency = ReachedConsistency(level=Consistency.CRASH)

    @property
    def exports(self) -> Mapping[str, DiskExport]:
        """See `BackupJob.exports`."""
        return self._exports

    @property
    def tracking(self) -> TrackingName | None:
        """See `BackupJob.tracking`."""
        return self._tracking

    @property
    def consistency(self) -> ReachedConsistency:
        """See `BackupJob.consistency`."""
        return self._consistency

    def check(self, *, after_failure: bool = False, cancelled: Callable[[], bool] = never) -> None:
        """See `BackupJob.check`."""
        looks = int(_NOTICE_TIMEOUT_S / _NOTICE_INTERVAL_S) if after_failure else 0
        while self._is_there():
            self._guard.keep()
            if looks == 0 or cancelled():
                return
            looks -= 1
            self._parts.sleep(_NOTICE_INTERVAL_S)
        raise self._why_ended()

    def end(self) -> None:
        """See `BackupJob.end`."""
        if self._is_there():
            end_backup_job(self._parts, self._server_id)
        if reason_of(self._plan.report) is not None and not self._plan.was_stuck:
            self._resume()
        self._guard.end()
        self._plan.remove_files()

    def abandon(self) -> None:
        """See `BackupJob.abandon`."""
        self.end()
        if self._tracking is not None:
            self._parts.tracking.retire(self._server_id, [self._tracking])

    def begin(self, request: JobRequest) -> None:
        """Begins the job, with frozen file systems where that is asked for and safe."""
        self._open_exports()
        self._guard.wait_until_ready()
        parts, server_id = self._parts, self._server_id
        parts.connection.on_domain(server_id, "looking for other jobs", _refuse_foreign_job)

        def begin() -> None:
            action = partial(_begin, self._plan, self._tracking)
            parts.connection.on_domain(server_id, "beginning the backup", action)

        if request.consistency is Consistency.CRASH:
            begin()
            return
        # What libvirt would refuse is found before anything is frozen.
        parts.tracking.require(
            ServerRef(server_id, self._plan.server_name),
            [(disk.target, disk.since) for disk in request.disks if disk.since],
        )
        self._consistency = begin_frozen(
            parts.freezing,
            server_id,
            begin,
            without_watchdog=request.freeze_without_watchdog,
            cancelled=request.cancelled,
        )

    def _open_exports(self) -> None:
        """Looks up the sizes before the server may be powered off in the middle of the job.

        A resize is refused as long as the job runs; one just before it fails the copy.
        """
        sizes = self._parts.connection.on_domain(
            self._server_id,
            "asking for sizes",
            lambda domain: {
                disk.target: domain.blockInfo(disk.target)[0] for disk in self._plan.disks
            },
        )
        for disk in self._plan.disks:
            context = f"qemu:dirty-bitmap:{export_bitmap(disk.target)}" if disk.since else None
            self._exports[disk.target] = DiskExport(
                target=disk.target,
                uri=nbd_uri(self._plan.socket, disk.target),
                size_bytes=sizes[disk.target],
                dirty_context=context,
                tracked=disk.tracked,
            )

    def _resume(self) -> None:
        """The guard ended the job, and is about to do the same."""
        with suppress(ServerNotFound):
            self._parts.connection.on_domain(self._server_id, "resuming", resume_if_stuck)

    def _why_ended(self) -> CsbsError:
        name = self._plan.server_name
        why = reason_of(self._plan.report)
        if why is not None:
            return ScratchFull(name, str(self._plan.disks[0].scratch.parent), why)
        try:
            run_id = self._run_id_when_settled()
        except ServerNotFound:
            return ServerPoweredOff(name, "its definition is gone")
        if run_id == _NOT_RUNNING:
            return ServerPoweredOff(name)
        return DriverFailed(
            name,
            "",
            "the backup",
            "the hypervisor ended the job by itself: the server was powered off and started "
            "again, a disk failed, or somebody ended the job; back it up again",
        )

    def _run_id_when_settled(self) -> int:
        """The present run of the server, once it is another one than the job's, or stays that."""
        for _ in range(int(_STOP_TIMEOUT_S / _NOTICE_INTERVAL_S)):
            run_id = self._parts.connection.on_domain(
                self._server_id, "looking at the state", lambda domain: domain.ID()
            )
            if run_id != self._plan.run_id:
                return run_id
            self._parts.sleep(_NOTICE_INTERVAL_S)
        return self._plan.run_id

    def _is_there(self) -> bool:
        return running_job_socket(self._parts.connection, self._server_id) == str(self._plan.socket)


def begin_live(
    parts: LiveParts, request: JobRequest, trackable: Collection[str], *, unique: str
) -> LiveJob:
    """Begins the job on a running server; see `ComputeDriver.begin_backup`.

    `trackable` are the disks that can take a checkpoint.  `unique` gives the job's files names
    that no earlier job had: libvirt refuses a scratch file that is there already.
    """
    server_id = request.server_id
    files = _Files(
        run=parts.folders.run_of(server_id),
        scratch=parts.folders.scratch_of(server_id),
        unique=unique,
        trackable=frozenset(trackable),
    )
    plan = parts.connection.on_domain(
        server_id, "reading the definition", partial(_plan, request, files)
    )
    name = tracking_name(request.backup_id) if any(disk.tracked for disk in plan.disks) else None
    require_scratch_space(plan.server_name, files.scratch, parts.scratch_limits)
    guard = Guard(plan.server_name, _order(parts, server_id, plan, files))
    job = LiveJob(parts, server_id, plan, name, guard)
    try:
        job.begin(request)
    except BaseException:
        _undo(job)
        raise
    return job


def _order(parts: LiveParts, server_id: ServerId, plan: JobPlan, files: _Files) -> GuardOrder:
    return GuardOrder(
        uri=parts.connection.uri,
        server_id=server_id,
        socket=str(plan.socket),
        scratch=str(files.scratch),
        was_stuck=plan.was_stuck,
        thaw_debt=str(debt_file(parts.folders, server_id)),
        max_bytes=parts.scratch_limits.max_bytes,
        reserve_bytes=parts.scratch_limits.reserve_bytes,
        report=str(plan.report),
    )


def running_job_socket(connection: Connection, server_id: ServerId) -> str | None:
    """The socket of the backup job that runs on the server, whosever it is; None without one."""
    try:
        xml = connection.on_domain(server_id, "looking for a backup job", _job_xml)
    except ServerNotFound:
        return None
    return None if xml is None else job_socket(xml) or ""


def end_backup_job(parts: LiveParts, server_id: ServerId) -> None:
    """Ends the backup job that runs on the server, and waits until it has ended.

    Raises `DriverFailed` if it has not after a minute.
    """
    parts.connection.on_domain(server_id, "ending the backup job", _abort)
    # libvirt answers before the job has ended; only then may its files go.
    for _ in range(int(_END_TIMEOUT_S / _POLL_INTERVAL_S)):
        if running_job_socket(parts.connection, server_id) is None:
            return
        parts.sleep(_POLL_INTERVAL_S)
    raise DriverFailed(
        server_id, "", "ending the backup job", f"it still runs after {_END_TIMEOUT_S:g} s"
    )


def _undo(job: LiveJob) -> None:
    """A call that timed out may have been carried out all the same."""
    try:
        job.abandon()
    except CsbsError as error:
        log.warning("a job that failed was not cleared", extra={"why": str(error)})


def _plan(request: JobRequest, files: _Files, domain: libvirt.virDomain) -> JobPlan:
    parsed = parse_domain(domain.XMLDesc(0))
    wanted = {disk.target: disk for disk in request.disks}
    for target in wanted.keys() - {disk.target for disk in parsed.disks}:
        raise DriverFailed(domain.name(), target, "the backup", "the server has no such disk")
    return JobPlan(
        server_name=domain.name(),
        run_id=domain.ID(),
        was_stuck=is_stuck(domain),
        socket=files.run / f"{files.unique}.sock",
        report=files.run / f"{files.unique}.report",
        disks=tuple(
            BackupDisk(
                target=disk.target,
                scratch=files.scratch / f"{files.unique}-{disk.target}.qcow2",
                since=wanted[disk.target].since,
                tracked=disk.target in files.trackable,
            )
            for disk in parsed.disks
            if disk.target in wanted
        ),
        left_out=(
            *(disk.target for disk in parsed.disks if disk.target not in wanted),
            *parsed.left_out,
        ),
    )


def _begin(plan: JobPlan, name: TrackingName | None, domain: libvirt.virDomain) -> None:
    untracked = [disk.target for disk in plan.disks if not disk.tracked]
    checkpoint = None
    if name is not None:
        checkpoint = checkpoint_xml(
            name,
            tracked=[disk.target for disk in plan.disks if disk.tracked],
            untracked=[*untracked, *plan.left_out],
        )
    try:
        domain.backupBegin(
            backup_xml(plan.socket, plan.disks, left_out=plan.left_out), checkpoint, 0
        )
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code in {libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT}:
            raise TrackingLost(domain.name(), message_of(error)) from error
        if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise ServerJobRunning(domain.name(), message_of(error)) from error
        raise


def _refuse_foreign_job(domain: libvirt.virDomain) -> None:
    """Asked before: libvirt would let a second job wait for half a minute, and refuse it then."""
    stats = domain.jobStats()
    if stats["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
        number = stats.get("operation", 0)
        known = number < len(_OPERATIONS)
        raise ServerJobRunning(domain.name(), _OPERATIONS[number] if known else _OPERATIONS[0])


def _job_xml(domain: libvirt.virDomain) -> str | None:
    try:
        return domain.backupGetXMLDesc()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
            return None
        raise


def _abort(domain: libvirt.virDomain) -> None:
    try:
        domain.abortJob()
    except libvirt.libvirtError:
        if _job_xml(domain) is not None:
            raise
