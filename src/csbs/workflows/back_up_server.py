"""Backing up one server.

begin      the hypervisor opens all disks at one instant, and tracks changes from there on
copy       what changed goes into packs, several disks at once
look on    a command of the caller may read the same disks
end job    the server is let go; its new TrackingPoint stays
commit     the manifest: from here on the backup exists, whatever else is lost
record     the catalog follows
retire     TrackingPoints that no disk needs any more

A server that is powered off meanwhile takes its job with it.  Then the backup goes on from the
images, and its instant becomes the power-off: a disk that was copied is read again where the new
TrackingPoint says that it was written since, one that was not is read as if nothing had been.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from csbs.agent.audit import AuditOptions
from csbs.agent.backup_disk import CopyOptions
from csbs.agent.meter import JobMeter
from csbs.catalog import backups, servers
from csbs.compute.base import BackupJob, ComputeDriver, DiskExport, JobDisk, JobRequest
from csbs.domain.backup import Backup, DiskBackup
from csbs.domain.backup_plan import DiskPlan, untracked
from csbs.domain.consistency import NO_HOOKS, Consistency, ConsistencyNotReached
from csbs.domain.errors import (
    CommandFailed,
    CsbsError,
    DiskUnreadable,
    ServerPoweredOff,
    TrackingLost,
)
from csbs.domain.ids import TrackingName
from csbs.domain.server import ServerDescription
from csbs.repository import BackupWriter, ContentIndex, Image
from csbs.workflows.disk_copies import CopiedDisk, DiskCopies, DiskToCopy
from csbs.workflows.facts import Making, facts_of
from csbs.workflows.records import Records, forget_or_fail, record_commit, retire_unused
from csbs.workflows.run import Run, check_cancelled

log = logging.getLogger(__name__)

#: Runs while the job is open, with the disks' exports and the job's `check`, to be called now and
#: then: a job may end by itself.
LookOn = Callable[[Sequence[DiskExport], Callable[[], None]], None]


class BackupSteps(Protocol):
    """The steps of one backup; each may happen twice, and is idempotent under the backup's id."""

    def begin(self, run: Run) -> None:
        """Opens all disks at one instant; waits for no guest if the run is cancelled."""

    def copy(self, run: Run) -> None:
        """Stores what changed on the disks; ends early if the run is cancelled."""

    def look_on(self) -> None:
        """Lets the caller's command read the disks, unless it did so already."""

    def go_on_stopped(self) -> None:
        """Opens the disks of a server that was powered off; each must be copied (again)."""

    def end_job(self) -> None:
        """Lets the server go; the new TrackingPoint stays."""

    def commit(self) -> None:
        """Puts the manifest."""

    def record(self) -> None:
        """Makes the catalog follow the manifest."""

    def retire_tracking(self) -> None:
        """Gives up TrackingPoints that no disk needs any more."""


def back_up_server(run: Run, do: BackupSteps) -> None:
    """Backs up one server; `commit` is the only point of commitment.

    A crash before it leaves packs that nothing names, and a job, a TrackingPoint and a row
    `protecting` that `settle` clears; a crash after it leaves a backup that `settle` records.
    The old TrackingPoint is given up last, so a retry misses no write.
    """
    run.step("begin", do.begin, run)
    try:
        _copy(run, do)
    except ServerPoweredOff as error:
        if error.why:
            raise
        log.warning("the backup goes on from the disks of the server, which was powered off")
        run.step("go on stopped", do.go_on_stopped)
        _copy(run, do)
    run.step("end job", do.end_job)
    run.step("commit", do.commit)
    run.step("record", do.record)
    run.step("retire tracking", do.retire_tracking)


def _copy(run: Run, do: BackupSteps) -> None:
    check_cancelled(run, "the backup")
    run.step("copy", do.copy, run)
    run.step("look on", do.look_on)
    check_cancelled(run, "the backup")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupTools:
    """What a backup works with."""

    records: Records
    driver: ComputeDriver
    index: ContentIndex
    copying: CopyOptions
    auditing: AuditOptions
    #: Fail rather than reach a lower consistency than what was asked for.
    require_consistency: bool = False


class ServerBackup:
    """The steps of one backup of a real server."""

    def __init__(
        self,
        backup: Backup,
        server: ServerDescription,
        plans: Sequence[DiskPlan],
        tools: BackupTools,
        look_on: LookOn | None,
    ) -> None:
        self._backup = backup
        self._server = server
        self._plans = {plan.target: plan for plan in plans}
        self._tools = tools
        self._look_on = look_on
        #: Images of the disks that were copied.
        self._copied: dict[str, Image] = {}
        self._job: BackupJob | None = None
        self._writer: BackupWriter | None = None
        self._meter: JobMeter | None = None
        self._finished_at: datetime | None = None

    def begin(self, run: Run) -> None:
        """See `BackupSteps.begin`; where tracking is refused, all is read and compared."""
        tools, backup = self._tools, self._backup
        asked = backup.consistency_asked
        if tools.require_consistency and asked is Consistency.APPLICATION:
            raise ConsistencyNotReached(backup.server_name, asked, NO_HOOKS)
        self._writer = tools.records.repository.begin(
            backup.id, started_at=backup.created_at, index=tools.index
        )
        instant = tools.records.clock()
        try:
            self._job = self._open_job(run)
        except TrackingLost as error:
            log.warning("tracking was refused", extra={"server_id": backup.server_id})
            self._plans = {
                target: untracked(plan, error.why) for target, plan in self._plans.items()
            }
            instant = tools.records.clock()
            self._job = self._open_job(run)
        opened = tuple(self._as_opened(disk) for disk in backup.disks)
        self._backup = _reached(self._job, replace(backup, created_at=instant, disks=opened))

    def copy(self, run: Run) -> None:
        """See `BackupSteps.copy`; what was copied of a disk to its end is kept after a failure."""
        assert self._job is not None
        assert self._writer is not None
        job, disks = self._job, self._backup.disks
        if self._meter is None:
            self._meter = JobMeter("reading", [disk.target for disk in disks], run.progress)
        copies = DiskCopies(
            server_name=self._backup.server_name,
            writer=self._writer,
            parent=self._parent,
            options=self._tools.copying,
            auditing=self._tools.auditing,
            meter=self._meter,
        )
        wanted = [
            DiskToCopy(
                export=job.exports[disk.target],
                plan=self._plans[disk.target],
                copied=self._copied.get(disk.target),
            )
            for disk in disks
        ]
        try:
            copies.copy_all(wanted, self._keep, cancelled=run.cancelled)
        except DiskUnreadable:  # whoever ended the job knows a better reason
            job.check(after_failure=True, cancelled=run.cancelled)
            raise

    def _keep(self, copied: CopiedDisk) -> None:
        assert self._job is not None
        plan = copied.plan
        self._plans[plan.target] = plan
        self._copied[plan.target] = copied.image
        self._backup = replace(
            self._backup,
            disks=tuple(
                replace(
                    disk,
                    mode=plan.mode,
                    reason=plan.reason,
                    read_bytes=copied.read_bytes + (disk.read_bytes or 0),
                )
                if disk.target == plan.target
                else disk
                for disk in self._backup.disks
            ),
        )
        self._job.check()

    def look_on(self) -> None:
        """See `BackupSteps.look_on`."""
        assert self._job is not None
        if self._look_on is None:
            return
        try:
            self._look_on(list(self._job.exports.values()), self._check_but_power)
        except CommandFailed:
            self._job.check()
            raise
        self._look_on = None
        self._job.check()

    def _check_but_power(self) -> None:
        """Leaves a power-off to the command itself: perhaps it is what the command does."""
        assert self._job is not None
        with suppress(ServerPoweredOff):
            self._job.check()

    def go_on_stopped(self) -> None:
        """See `BackupSteps.go_on_stopped`; where that cannot be done, the backup fails."""
        assert self._job is not None
        ended, backup = self._job, self._backup
        instant = self._tools.records.clock()
        try:
            ended.end()
            self._job = self._tools.driver.go_on_stopped(
                self._request(
                    {
                        target: ended.tracking if export.tracked else None
                        for target, export in ended.exports.items()
                        if target in self._copied
                    }
                )
            )
        except CsbsError as error:
            raise ServerPoweredOff(backup.server_name, str(error)) from error
        for target, export in self._job.exports.items():
            if export.size_bytes != ended.exports[target].size_bytes:
                raise ServerPoweredOff(backup.server_name, f"disk {target} has another size now")
        self._backup = _reached(self._job, replace(backup, created_at=instant))

    def end_job(self) -> None:
        """See `BackupSteps.end_job`."""
        assert self._job is not None
        self._job.end()

    def commit(self) -> None:
        """See `BackupSteps.commit`."""
        assert self._job is not None
        assert self._writer is not None
        tracked = frozenset(
            export.target for export in self._job.exports.values() if export.tracked
        )
        if self._finished_at is None:  # a commit that is repeated puts the same bytes
            self._finished_at = self._tools.records.clock()
        making = Making(
            tracked=tracked,
            parents={target: plan.parent_id for target, plan in self._plans.items()},
            finished_at=self._finished_at,
            damage_known=self._tools.records.repository.damage_known,
        )
        self._writer.commit(
            created_at=self._backup.created_at,
            facts=facts_of(self._backup, self._server, making),
        )

    def record(self) -> None:
        """See `BackupSteps.record`."""
        self._record()

    def retire_tracking(self) -> None:
        """See `BackupSteps.retire_tracking`; what fails here is tried again by the next backup."""
        try:
            retire_unused(
                self._tools.records.catalog,
                self._tools.driver,
                self._backup.project_id,
                self._backup.server_id,
            )
        except CsbsError as error:
            log.warning("old tracking stays for now", extra={"why": str(error)})

    def give_up(self, error: Exception) -> bool:
        """Undoes a backup that failed or was cancelled; True: it was committed all the same.

        The server is let go first.  Only a fenced backup loses its TrackingPoint and its row; what
        cannot be undone now stays `protecting`, and the next command for that server settles it.
        """
        if self._job is not None:
            with _logged("the job did not end"):
                self._job.end()
        with _logged("the backup was not given up"):
            if self._writer is not None and not self._writer.abort():
                self._record()
                return True
            forget_or_fail(self._tools.records, self._backup, error)
            if self._job is not None:
                self._job.abandon()
        return False

    def _record(self) -> None:
        record_commit(self._tools.records, self._backup)

    def _open_job(self, run: Run) -> BackupJob:
        request = replace(self._request({}), cancelled=run.cancelled)
        return self._tools.driver.begin_backup(request)

    def _request(self, copied: Mapping[str, TrackingName | None]) -> JobRequest:
        """All disks as they are planned; those that were copied since the given TrackingPoint."""
        return JobRequest(
            server_id=self._backup.server_id,
            backup_id=self._backup.id,
            consistency=self._consistency_to_try(),
            freeze_without_watchdog=self._freezes_without_watchdog(),
            disks=[
                JobDisk(target=target, since=copied.get(target, plan.since))
                for target, plan in self._plans.items()
            ],
        )

    def _consistency_to_try(self) -> Consistency:
        asked = self._backup.consistency_asked
        return Consistency.FILESYSTEM if asked is Consistency.APPLICATION else asked

    def _freezes_without_watchdog(self) -> bool:
        backup = self._backup
        with self._tools.records.catalog.transaction() as transaction:
            return servers.freezes_without_watchdog(
                transaction, backup.project_id, backup.server_id
            )

    def _as_opened(self, disk: DiskBackup) -> DiskBackup:
        assert self._job is not None
        plan = self._plans[disk.target]
        return replace(
            disk,
            mode=plan.mode,
            reason=plan.reason,
            size_bytes=self._job.exports[disk.target].size_bytes,
        )

    def _parent(self, plan: DiskPlan) -> Image | None:
        if plan.parent_id is None:
            return None
        with self._tools.records.catalog.transaction() as transaction:
            parent = backups.get(transaction, self._backup.project_id, plan.parent_id)
        return self._tools.records.repository.manifest(parent.manifest_key).image(plan.disk_id)


def _reached(job: BackupJob, backup: Backup) -> Backup:
    """The backup with the consistency of the job's view."""
    reached, asked = job.consistency, backup.consistency_asked
    reasons = [NO_HOOKS, reached.reason] if asked is Consistency.APPLICATION else [reached.reason]
    return replace(
        backup,
        consistency_reached=reached.level,
        consistency_reason="" if reached.level is asked else "; ".join(filter(None, reasons)),
        freeze=reached.freeze,
    )


@contextmanager
def _logged(sentence: str) -> Iterator[None]:
    """Logs and swallows errors of ours: the failure that matters is already on its way."""
    try:
        yield
    except CsbsError as error:
        log.warning(sentence, extra={"why": str(error)})
