"""Restores: planning them, and carrying them out in place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from csbs.agent.audit import AuditOptions
from csbs.agent.rate_limit import RateLimit
from csbs.agent.restore_disk import RestoreOptions, RestoreResult
from csbs.catalog import Catalog, Transaction, backups, leases, servers, tasks
from csbs.catalog.leases import LeaseKind, LeaseWanted
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, BackupState
from csbs.domain.backup_plan import DiskPlan, plan_disk
from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import BackupNotRestorable, Denied, PlanChanged, ServerNotFound, Unavailable
from csbs.domain.identity import Match
from csbs.domain.ids import DiskId, ProjectId, ServerId, TaskId
from csbs.domain.restore_plan import (
    RestorePlan,
    choose_ways,
    fingerprint,
    plan_restore,
    require_no_half_written,
    warn_of_half_written,
)
from csbs.domain.server import ServerDescription, ServerRef, TrackingReport
from csbs.domain.task import Task, TaskKind, new_task, waiting_task
from csbs.repository import Repository
from csbs.repository.errors import RepositoryOwned
from csbs.services.backups import BackupService
from csbs.services.busy import refuse_busy
from csbs.services.disks import disk_histories, identify_disks
from csbs.services.locks import Locks
from csbs.services.repositories import RepositoryAccess
from csbs.services.requests import KeptRestore, RestoreRequest, keep_restore, written
from csbs.workflows.records import Records, retire_owed
from csbs.workflows.restore_server import RestoreTools, ServerRestore, restore_server
from csbs.workflows.run import LocalRun, Watcher
from csbs.workflows.runner import NoRunner, TaskRunner
from csbs.workflows.settle import settle

log = logging.getLogger(__name__)


#: How long the sample of a disk that is left as it is may take, on a slow disk.
_SAMPLE_TIME_MAX_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreDone:
    """What a restore did."""

    #: With the ways as they were gone.
    plan: RestorePlan
    #: An interrupted restore came before: the disks were compared, and only differences written.
    resumed: bool
    #: By target, for each disk that was written.
    results: Mapping[str, RestoreResult]
    #: By target, where the backup is damaged: ranges of the disk, (offset, size) in bytes, that
    #: were filled with zeroes.
    holes: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreService:
    """What a caller may ask for about restores."""

    catalog: Catalog
    project_id: ProjectId
    driver: ComputeDriver
    backups: BackupService
    repositories: RepositoryAccess
    locks: Locks
    clock: Clock
    new_id: NewId
    writing: RestoreOptions
    #: What a restore may move a second, unless it is told otherwise; None: no limit.
    limit_bytes_per_s: int | None
    stop_timeout_s: float
    #: Carries out what is submitted.
    runner: TaskRunner = field(default_factory=NoRunner)

    def plan(self, wanted: str) -> RestorePlan:
        """What a restore of this backup to its server would do; changes nothing.

        Raises `BackupNotFound`, `BackupNotRestorable`, `ServerNotFound`, `DiskTooSmall`,
        `DiskNotWritable`, `NothingToRestore`, `DiskHalfWritten`.
        """
        backup = self.backups.find(wanted)
        require_restorable(backup)
        return self.plan_for(backup, self._server(backup))

    def submit(self, wanted: str, request: RestoreRequest, agreed: str | None = None) -> Task:
        """Enters a restore of the backup to its server, and returns its task.

        The runner does the work; the backup is `restoring` until it has ended.  What can be
        refused is refused here: raises what `plan` raises, and `ServerBusy` (a backup or restore
        of the server waits or runs).  What was planned here is what is agreed to; if `agreed`, the
        fingerprint of a plan, is given and is of another one, raises `PlanChanged`.
        """
        plan = self.plan(wanted)
        require_agreed(plan, agreed)
        server = ServerRef(plan.backup.server_id, plan.backup.server_name)
        task = waiting_task(
            TaskId(self.new_id()),
            TaskKind.RESTORE,
            plan.backup,
            at=self.clock(),
            request=keep_restore(KeptRestore(request=request, agreed=written(plan))),
        )
        with self.catalog.transaction() as transaction:
            refuse_busy(transaction, self.project_id, server)
            servers.remember_server(transaction, self.project_id, server.id, server.name)
            backup = backups.get(transaction, self.project_id, plan.backup.id)
            restoring = backup.to(BackupState.RESTORING)
            backups.save(
                transaction, replace(restoring, fail_op=None, fail_code="", fail_reason="")
            )
            tasks.add(transaction, task)
        self.runner.start(task)
        return task

    def restore(
        self, agreed: RestorePlan, watcher: Watcher, request: RestoreRequest
    ) -> RestoreDone:
        """Restores the server's disks in place, and returns what was done.

        Asks nobody: what is on the disks is lost.  Can be cancelled until the first write.  Raises
        what `plan` raises, `PlanChanged` if that is not `agreed` any more, and `ServerBusy`; after
        an error in the middle the server stays stopped until a restore of it has ended well.
        """
        backup_id = agreed.backup.id
        found = self._server(agreed.backup)
        with (
            self.locks.server(found, "restore"),
            self.repositories.shared(f"restore of server {found.name}") as repository,
        ):
            self.driver.clean_up(found.id)
            self.settle_server(repository, found.id)
            with self.catalog.transaction() as transaction:
                backup = backups.get(transaction, self.project_id, backup_id)
            require_restorable(backup)
            server = self.driver.describe(found.id)
            plan = self.plan_for(backup, server)
            if written(plan) != written(agreed):
                raise PlanChanged(server.name)
            return self._restore(plan, server, repository, watcher, request)

    def lease(self, transaction: Transaction, task: Task, backup: Backup) -> None:
        """Records that the task uses the backup."""
        wanted = LeaseWanted(task_id=task.id, kind=LeaseKind.READING, uses=[backup.manifest_key])
        leases.give(transaction, self.project_id, self.new_id(), wanted, at=task.created_at)

    def settle_server(self, repository: Repository, server_id: ServerId) -> None:
        """Ends what dead processes left of the server, as far as that can be done now."""
        records = Records(catalog=self.catalog, repository=repository, clock=self.clock)
        try:
            settle(records, self.project_id, server_id)
        except (Unavailable, Denied, RepositoryOwned) as error:  # what may be read restores
            log.warning("what a dead process left stays for now", extra={"why": str(error)})
        retire_owed(self.catalog, self.driver, self.project_id, server_id)

    def tools(self, repository: Repository, request: RestoreRequest) -> RestoreTools:
        """What a restore of this project works with."""
        return RestoreTools(
            catalog=self.catalog,
            driver=self.driver,
            repository=repository,
            writing=self._writing(request),
            sampling=AuditOptions(time_max_s=_SAMPLE_TIME_MAX_S),
            compare_rest=request.compare,
            stop_timeout_s=self.stop_timeout_s,
            clock=self.clock,
            allow_holes=request.allow_holes,
        )

    def _restore(
        self,
        plan: RestorePlan,
        server: ServerDescription,
        repository: Repository,
        watcher: Watcher,
        request: RestoreRequest,
    ) -> RestoreDone:
        backup = plan.backup
        task = new_task(TaskId(self.new_id()), TaskKind.RESTORE, backup, at=self.clock())
        with self.catalog.transaction() as transaction:
            servers.remember_server(transaction, self.project_id, server.id, server.name)
            tasks.add(transaction, task)
            self.lease(transaction, task, backup)
            backups.set_state(transaction, self.project_id, backup.id, BackupState.RESTORING)
        do = ServerRestore(plan, server, self.tools(repository, request))
        run = LocalRun(task, catalog=self.catalog, clock=self.clock, watcher=watcher)
        try:
            with run.watched():
                restore_server(run, do, plan, power_on=request.power_on)
        finally:
            with self.catalog.transaction() as transaction:
                backups.set_state(transaction, self.project_id, backup.id, BackupState.AVAILABLE)
        return restored(do)

    def plan_for(self, backup: Backup, server: ServerDescription) -> RestorePlan:
        """See `plan`."""
        found = identify_disks(self.catalog, self.driver, self.project_id, server, self.new_id)
        plan = plan_restore(
            backup, [match for _, match in found.disks], [disk_id for disk_id, _ in found.disks]
        )
        with self.catalog.transaction() as transaction:
            earlier = servers.unfinished_restore(transaction, self.project_id, server.id)
            if earlier is not None:
                interrupted = backups.get(transaction, self.project_id, earlier.backup_id)
                require_no_half_written(plan, interrupted)
                plan = warn_of_half_written(plan, interrupted)
        tracked = self._tracked(plan, server, found.tracking)
        return choose_ways(plan, tracked, resumed=earlier is not None)

    def _tracked(
        self, plan: RestorePlan, server: ServerDescription, report: TrackingReport
    ) -> dict[DiskId, DiskPlan]:
        """How a backup would read each disk that is written: its rules say what is trusted."""
        ids = [each.disk_id for each in plan.written if each.disk_id is not None]
        histories = disk_histories(self.catalog, self.project_id, server.id, ids)
        return {
            each.disk_id: plan_disk(
                each.disk_id,
                Match(each.disk, None, each.found_by),
                histories[each.disk_id],
                report,
                full=False,
            )
            for each in plan.written
            if each.disk_id is not None and each.disk is not None and each.found_by is not None
        }

    def _writing(self, request: RestoreRequest) -> RestoreOptions:
        limit = request.limit_bytes_per_s or self.limit_bytes_per_s
        return replace(self.writing, rate_limit=None if limit is None else RateLimit(limit))

    def _server(self, backup: Backup) -> ServerDescription:
        try:
            return self.driver.describe(backup.server_id)
        except ServerNotFound:
            raise ServerNotFound(backup.server_name) from None


def require_agreed(plan: RestorePlan, agreed: str | None) -> None:
    """Raises `PlanChanged` if somebody agreed to another plan than this."""
    if agreed is not None and fingerprint(plan) != agreed:
        raise PlanChanged(plan.backup.server_name)


def restored(do: ServerRestore) -> RestoreDone:
    """What was done."""
    holes = {target: each.ranges() for target, each in do.holes.items()}
    return RestoreDone(
        plan=do.plan,
        resumed=do.resumed,
        results=do.results,
        holes={target: ranges for target, ranges in holes.items() if ranges},
    )


def require_restorable(backup: Backup) -> None:
    """Raises `BackupNotRestorable` for one that was not committed, or is being deleted."""
    # One that is `restoring` may be left by a dead csbs; under the server's lock it is settled.
    if backup.state not in {BackupState.AVAILABLE, BackupState.RESTORING}:
        raise BackupNotRestorable(
            backup.id, backup.state, f": {backup.fail_reason}" if backup.fail_reason else ""
        )
