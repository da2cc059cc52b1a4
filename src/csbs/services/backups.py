"""Backups: making, finding and deleting them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from csbs.agent.audit import AuditOptions
from csbs.agent.backup_disk import CopyOptions
from csbs.agent.rate_limit import RateLimit
from csbs.catalog import Catalog, Transaction, backup_lists, backups, leases, servers, tasks
from csbs.catalog.backup_lists import BackupFilter
from csbs.catalog.leases import LeaseKind, LeaseWanted
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, BackupState, DiskBackup, default_name
from csbs.domain.backup_plan import DiskPlan, plan_disk
from csbs.domain.clock import Clock, NewId
from csbs.domain.deletion_plan import DeletionPlan
from csbs.domain.errors import (
    BackupAmbiguous,
    BackupInUse,
    BackupNotFound,
    DiskShared,
    InvalidName,
    ServerStateRefused,
    ServerWithoutDisks,
)
from csbs.domain.identity import Match
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    PolicyId,
    ProjectId,
    ServerId,
    TaskId,
    tracking_name,
)
from csbs.domain.listing import Listing, Slice
from csbs.domain.lookup import matching
from csbs.domain.server import ServerDescription, ServerRef, ServerState
from csbs.domain.task import Task, TaskKind, new_task, waiting_task
from csbs.repository import ContentIndex, Repository
from csbs.services.busy import refuse_busy
from csbs.services.disks import (
    IdentifiedDisks,
    disk_histories,
    identify_disks,
    reading_damaged_again,
)
from csbs.services.locks import Locks
from csbs.services.repositories import RepositoryAccess
from csbs.services.requests import (
    CreateBackup,
    asked_by_somebody,
    expired_by,
    keep_backup_request,
    keep_deletion,
)
from csbs.services.servers import ServerService, require_whole
from csbs.workflows.back_up_server import BackupTools, ServerBackup, back_up_server
from csbs.workflows.delete_backup import delete_backup, measure_deletion
from csbs.workflows.owned_run import OwnedRun
from csbs.workflows.records import Records, retire_owed
from csbs.workflows.run import LocalRun, Run, Watcher
from csbs.workflows.runner import NoRunner, TaskRunner
from csbs.workflows.settle import settle

log = logging.getLogger(__name__)


def _no_quota(_transaction: Transaction) -> None:
    """Where nobody counts."""


@dataclass(frozen=True, slots=True)
class ServerToBackUp:
    """A backup that was entered, and what it is made from."""

    backup: Backup
    server: ServerDescription
    plans: Sequence[DiskPlan]
    task_id: TaskId


#: Letters of any script (Chinese names are usual), digits, `_` and `-`.
_NAME = re.compile(r"[\w-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupService:
    """What a caller may ask for about backups."""

    catalog: Catalog
    project_id: ProjectId
    driver: ComputeDriver
    servers: ServerService
    repositories: RepositoryAccess
    locks: Locks
    clock: Clock
    new_id: NewId
    copying: CopyOptions
    #: What a backup may read a second, unless it is told otherwise; None: no limit.
    limit_bytes_per_s: int | None
    #: Raises an error if the data folder has too little space for one more backup.
    require_space: Callable[[], None]
    #: Carries out what is submitted.
    runner: TaskRunner = field(default_factory=NoRunner)
    #: Called in the transaction that has entered a backup: raises an error if the project has no
    #: room for it.
    require_quota: Callable[[Transaction], None] = _no_quota

    def list_all(self, server: str | None = None) -> list[Backup]:
        """All backups, oldest first; of one server (id, prefix or name) if it is given."""
        ids = None if server is None else self._named_servers(server)
        with self.catalog.reading() as transaction:
            if ids is None:
                return backups.of_project(transaction, self.project_id)
            return backups.of_servers(transaction, self.project_id, ids)

    def page(self, server: str | None, listing: Listing) -> Slice[Backup]:
        """A page of all backups, or of those of one server (id, prefix or name).

        Raises `ServerNotFound` for one that neither backups nor the host know.
        """
        wanted = BackupFilter(server_ids=None if server is None else self._named_servers(server))
        with self.catalog.reading() as transaction:
            found = backup_lists.page(transaction, self.project_id, wanted, listing)
            return found.map(partial(backups.by_ids, transaction, self.project_id))

    def _named_servers(self, server: str) -> set[ServerId]:
        with self.catalog.reading() as transaction:
            named = backups.servers_named(transaction, self.project_id, server)
        return {each.id for each in matching(named, server)} or {self.servers.find(server).id}

    def find(self, wanted: str) -> Backup:
        """The backup with this id, prefix of an id, or name.

        Raises `BackupNotFound`, `BackupAmbiguous`.
        """
        with self.catalog.reading() as transaction:
            named = backups.named(transaction, self.project_id, wanted)
        found = matching(named, wanted)
        if not found:
            raise BackupNotFound(wanted)
        if len(found) > 1:
            raise BackupAmbiguous(wanted, tuple(each.id for each in found))
        return found[0]

    def create(self, request: CreateBackup, watcher: Watcher) -> Backup:
        """Backs a server up and returns the backup, `available`.

        Raises what stands against it (`ServerNotFound`, `ServerBusy`, `ServerWithoutDisks`,
        `DiskShared`, `RestoreUnfinished`, `StoreFull` ...); after a failure the backup is listed as
        `error`, after a cancel it is gone.
        """
        _require_name(request)
        found = self.servers.find(request.server)
        doing = f"backup of server {found.name}"
        with (
            self.locks.server(found, "backup"),
            self.repositories.writing(doing, cancelled=watcher.cancel.is_set) as storage,
        ):
            repository, _ = storage
            self.require_space()
            # First: cleaning up would let go of the images that a restore left half written.
            require_whole(self.catalog, self.project_id, found)
            self.driver.clean_up(found.id)
            self.settle_server(repository, found.id)
            server = _ready(self.driver.describe(found.id))
            return self._create(request, server, storage, watcher)

    def submit(self, request: CreateBackup) -> Backup:
        """See `enter`; returns the backup."""
        backup, _task = self.enter(request)
        return backup

    def enter(self, request: CreateBackup) -> tuple[Backup, Task]:
        """Enters a backup and its task, and returns both; the runner does the work.

        The backup is `protecting` from here on.

        What can be refused is refused here, and leaves nothing: raises `InvalidName`,
        `ServerNotFound`, `ServerAmbiguous`, `ServerBusy` (a backup or restore of it waits or runs),
        `ServerStateRefused`, `ServerWithoutDisks`, `DiskShared`, `RestoreUnfinished`,
        `DataFolderFull`, and what `request.admit` raises.  Failures that come later are in the
        backup (`error`) and in its task.
        """
        _require_name(request)
        server = self.require_ready(request.server)
        self.require_space()
        identified = self._identify(request, server)
        backup = self._new_backup(request, server, identified, self._plan(server, identified))
        task = waiting_task(
            TaskId(self.new_id()),
            TaskKind.BACKUP,
            backup,
            at=backup.created_at,
            request=keep_backup_request(request),
        )
        with self.catalog.transaction() as transaction:
            refuse_busy(transaction, self.project_id, server)
            self._enter(transaction, request, backup, identified)
            tasks.add(transaction, task)
        self.runner.start(task)
        return backup, task

    def require_ready(self, wanted: str) -> ServerDescription:
        """The server, if it can be backed up now.

        Raises `ServerNotFound`, `ServerAmbiguous`, `ServerBusy`, `ServerStateRefused`,
        `ServerWithoutDisks`, `DiskShared`, `RestoreUnfinished`.
        """
        server = _ready(self.servers.find(wanted))
        require_whole(self.catalog, self.project_id, server)
        with self.catalog.transaction() as transaction:
            refuse_busy(transaction, self.project_id, server)
        return server

    def submit_deletion(self, backup_id: BackupId) -> Task:
        """Enters the backup's deletion, and returns its task; the runner does the work.

        The backup is `deleting` from here on.  May be repeated: returns the task that is there.
        Raises `BackupNotFound`, and `BackupInUse` while it is made or restored.
        """
        with self.catalog.transaction() as transaction:
            task = self.enter_deletion(transaction, backup_id)
        self.runner.start(task)
        return task

    def enter_deletion(
        self,
        transaction: Transaction,
        backup_id: BackupId,
        *,
        note: str = "",
        policy_id: PolicyId | None = None,
    ) -> Task:
        """See `submit_deletion`; behind the transaction the caller hands the task to the runner.

        `note` says how the task came to be, `policy_id` by which policy the backup expires.
        """
        backup = backups.get(transaction, self.project_id, backup_id)
        newest = tasks.newest_of_backup(transaction, self.project_id, backup_id)
        if newest is not None and newest.is_open:
            if newest.kind is TaskKind.DELETION:
                if policy_id is None and expired_by(newest.request) is not None:
                    request = asked_by_somebody(newest.request)
                    tasks.set_request(transaction, self.project_id, newest.id, request)
                return newest
            raise BackupInUse(backup_id, f"its {newest.kind} is not finished")
        self._refuse_in_use(transaction, backup)
        task = waiting_task(
            TaskId(self.new_id()),
            TaskKind.DELETION,
            backup,
            at=self.clock(),
            request=keep_deletion(backup, policy_id),
        )
        backups.set_state(transaction, self.project_id, backup_id, BackupState.DELETING)
        tasks.add(transaction, replace(task, note=note))
        return replace(task, note=note)

    def measure_deletion(self, wanted: str) -> DeletionPlan:
        """What deleting the backup changes in its server's storage; changes nothing."""
        backup = self.find(wanted)
        with self.repositories.shared("looking at a deletion") as repository:
            return measure_deletion(self.records(repository), backup, self._siblings(backup))

    def delete(self, backup_id: BackupId, watcher: Watcher) -> DeletionPlan:
        """Deletes the backup, whatever its state, and returns what that changed.

        Raises `ServerBusy` while another operation works on its server.
        """
        with self.catalog.transaction() as transaction:
            backup = backups.get(transaction, self.project_id, backup_id)
        with (
            self.locks.server(ServerRef(backup.server_id, backup.server_name), "deletion"),
            self.repositories.shared("deletion") as repository,
        ):
            repository.require_owner()
            records = self.records(repository)
            with self.catalog.transaction() as transaction:
                self._refuse_in_use(transaction, backup)
            plan = measure_deletion(records, backup, self._siblings(backup))
            self.settle_server(repository, backup.server_id)
            try:
                with self.catalog.transaction() as transaction:
                    backup = backups.get(transaction, self.project_id, backup_id)
            except BackupNotFound:  # a deletion that a dead process began is finished now
                return plan
            task = new_task(TaskId(self.new_id()), TaskKind.DELETION, backup, at=self.clock())
            with self.catalog.transaction() as transaction:
                tasks.add(transaction, task)
            run = LocalRun(task, catalog=self.catalog, clock=self.clock, watcher=watcher)
            with run.watched():
                return self.delete_now(run, backup.id, repository)

    def delete_now(self, run: Run, backup_id: BackupId, repository: Repository) -> DeletionPlan:
        """Deletes the backup; the locks must be held.  Raises `BackupNotFound`."""
        with self.catalog.transaction() as transaction:
            backup = backups.get(transaction, self.project_id, backup_id)
        records = self.records(repository)
        plan = measure_deletion(records, backup, self._siblings(backup))
        delete_backup(OwnedRun(run, repository.require_owner), records, plan)
        retire_owed(self.catalog, self.driver, self.project_id, backup.server_id)
        return plan

    def settle_server(self, repository: Repository, server_id: ServerId) -> None:
        """Ends what dead processes left of the server; its lock must be held."""
        settle(self.records(repository), self.project_id, server_id)
        retire_owed(self.catalog, self.driver, self.project_id, server_id)

    def _create(
        self,
        request: CreateBackup,
        server: ServerDescription,
        storage: tuple[Repository, ContentIndex],
        watcher: Watcher,
    ) -> Backup:
        identified = self._identify(request, server)
        plans = self._plan_reading(request, server, identified, storage[0])
        backup = self._new_backup(request, server, identified, plans)
        backup = reserved(storage[0], backup)
        task = new_task(TaskId(self.new_id()), TaskKind.BACKUP, backup, at=self.clock())
        with self.catalog.transaction() as transaction:
            self._enter(transaction, request, backup, identified)
            tasks.add(transaction, task)
        run = LocalRun(task, catalog=self.catalog, clock=self.clock, watcher=watcher)
        with run.watched():
            self.make(run, ServerToBackUp(backup, server, plans, task.id), request, storage)
        with self.catalog.transaction() as transaction:
            return backups.get(transaction, self.project_id, backup.id)

    def _enter(
        self,
        transaction: Transaction,
        request: CreateBackup,
        backup: Backup,
        identified: IdentifiedDisks,
    ) -> None:
        server_id = backup.server_id
        servers.remember_server(transaction, self.project_id, server_id, backup.server_name)
        servers.remember_disks(transaction, self.project_id, server_id, identified.disks)
        backups.add(transaction, backup)
        self.require_quota(transaction)
        if request.admit is not None:
            request.admit(transaction, backup)

    def plan_again(
        self, task: Task, request: CreateBackup, backup: Backup, repository: Repository
    ) -> ServerToBackUp:
        """What a backup that waited is made from now; its manifest's key is reserved."""
        server = _ready(self.driver.describe(backup.server_id))
        identified = self._identify(request, server)
        plans = self._plan_reading(request, server, identified, repository)
        backup = replace(
            backup,
            disks=_new_disks(identified, plans),
            vcpus=server.vcpus,
            memory_bytes=server.memory_bytes,
        )
        backup = reserved(repository, backup)
        with self.catalog.transaction() as transaction:
            servers.remember_server(transaction, self.project_id, server.id, server.name)
            servers.remember_disks(transaction, self.project_id, server.id, identified.disks)
            backups.save(transaction, backup)
        return ServerToBackUp(backup, server, plans, task.id)

    def make(
        self,
        run: Run,
        what: ServerToBackUp,
        request: CreateBackup,
        storage: tuple[Repository, ContentIndex],
        cause: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        """Makes a backup that was entered, or fails it by the `cause` of its error."""
        repository, index = storage
        self._lease(what)
        tools = BackupTools(
            records=self.records(repository),
            driver=self.driver,
            index=index,
            copying=self._copying(request),
            auditing=AuditOptions(),
            require_consistency=request.require_consistency,
        )
        do = ServerBackup(what.backup, what.server, what.plans, tools, request.look_on)
        try:
            back_up_server(OwnedRun(run, repository.require_owner), do)
        except Exception as error:
            if not do.give_up(cause(error)):
                raise
            log.warning("committed in spite of an error", extra={"why": str(error)})

    def _lease(self, what: ServerToBackUp) -> None:
        """Records what of the repository the backup uses, and where its manifest will be."""
        with self.catalog.transaction() as transaction:
            parents = {
                backups.get(transaction, self.project_id, plan.parent_id).manifest_key
                for plan in what.plans
                if plan.parent_id is not None
            }
            wanted = LeaseWanted(
                task_id=what.task_id,
                kind=LeaseKind.WRITING,
                manifest_key=what.backup.manifest_key,
                uses=parents,
            )
            leases.give(
                transaction, self.project_id, self.new_id(), wanted, at=what.backup.created_at
            )

    def _identify(self, request: CreateBackup, server: ServerDescription) -> IdentifiedDisks:
        """The disks that are to be backed up."""
        found = identify_disks(self.catalog, self.driver, self.project_id, server, self.new_id)
        kept = tuple(each for each in found.disks if each[0] not in request.exclude_disks)
        if not kept:
            raise ServerWithoutDisks(server.name)
        return replace(found, disks=kept)

    def _plan_reading(
        self,
        request: CreateBackup,
        server: ServerDescription,
        identified: IdentifiedDisks,
        repository: Repository,
    ) -> list[DiskPlan]:
        return [
            reading_damaged_again(self.catalog, self.project_id, repository, plan)
            for plan in self._plan(server, identified, full=request.full)
        ]

    def _copying(self, request: CreateBackup) -> CopyOptions:
        limit = request.limit_bytes_per_s or self.limit_bytes_per_s
        return replace(self.copying, rate_limit=None if limit is None else RateLimit(limit))

    def _plan(
        self, server: ServerDescription, identified: IdentifiedDisks, *, full: bool = False
    ) -> list[DiskPlan]:
        ids = [disk_id for disk_id, _ in identified.disks]
        histories = disk_histories(self.catalog, self.project_id, server.id, ids)
        return [
            plan_disk(disk_id, match, histories[disk_id], identified.tracking, full=full)
            for disk_id, match in identified.disks
        ]

    def _new_backup(
        self,
        request: CreateBackup,
        server: ServerDescription,
        identified: IdentifiedDisks,
        plans: Sequence[DiskPlan],
    ) -> Backup:
        """Without a key for its manifest: see `reserved`."""
        backup_id = BackupId(self.new_id())
        return Backup(
            id=backup_id,
            project_id=self.project_id,
            server_id=server.id,
            server_name=server.name,
            name=request.name or self._default_name(backup_id),
            state=BackupState.PROTECTING,
            created_at=self.clock(),
            manifest_key="",
            tracking=tracking_name(backup_id),
            consistency_asked=request.consistency,
            checkpoint_id=request.checkpoint_id or CheckpointId(backup_id),
            description=request.description,
            policy_id=request.policy_id,
            auto_trigger=request.auto_trigger,
            disks=_new_disks(identified, plans),
            vcpus=server.vcpus,
            memory_bytes=server.memory_bytes,
        )

    def _default_name(self, backup_id: BackupId) -> str:
        with self.catalog.reading() as transaction:
            shortest = default_name(backup_id, ())
            taken = backups.names_beginning(transaction, self.project_id, shortest)
        return default_name(backup_id, taken)

    def _refuse_in_use(self, transaction: Transaction, backup: Backup) -> None:
        restore = servers.unfinished_restore(transaction, self.project_id, backup.server_id)
        if restore is not None and restore.backup_id == backup.id:
            raise BackupInUse(backup.id, f"a restore of {backup.server_name} is not finished")

    def _siblings(self, backup: Backup) -> Sequence[Backup]:
        with self.catalog.transaction() as transaction:
            return backups.of_server(transaction, self.project_id, backup.server_id)

    def records(self, repository: Repository) -> Records:
        """Where its facts go."""
        return Records(catalog=self.catalog, repository=repository, clock=self.clock)


def reserved(repository: Repository, backup: Backup) -> Backup:
    """The backup with the key that its manifest will have."""
    return replace(backup, manifest_key=repository.manifest_key(backup.id, backup.created_at))


def _require_name(request: CreateBackup) -> None:
    if request.name is not None and not _NAME.fullmatch(request.name):
        raise InvalidName(request.name, "use 1 to 255 letters, digits, _ and -")


def _ready(server: ServerDescription) -> ServerDescription:
    """The server, if it can be backed up now."""
    if server.state not in {ServerState.RUNNING, ServerState.PAUSED, ServerState.STOPPED}:
        raise ServerStateRefused(server.name, server.state, "a backup")
    if not server.disks:
        raise ServerWithoutDisks(server.name)
    for disk in server.disks:
        if disk.shared:
            raise DiskShared(disk.target, server.name)
    return server


def _new_disks(identified: IdentifiedDisks, plans: Sequence[DiskPlan]) -> tuple[DiskBackup, ...]:
    return tuple(
        _new_disk(match, plan) for (_, match), plan in zip(identified.disks, plans, strict=True)
    )


def _new_disk(match: Match, plan: DiskPlan) -> DiskBackup:
    disk = match.disk
    return DiskBackup(
        disk_id=plan.disk_id,
        target=disk.target,
        source=disk.source,
        format=disk.format,
        size_bytes=disk.size_bytes,
        bootable=disk.bootable,
        mode=plan.mode,
        reason=plan.reason,
    )
