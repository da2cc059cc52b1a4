"""Backups: making, finding and deleting them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from csbs.agent.audit import AuditOptions
from csbs.agent.backup_disk import CopyOptions
from csbs.agent.rate_limit import RateLimit
from csbs.catalog import Catalog, backups, servers, tasks
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, BackupState, DiskBackup, default_name
from csbs.domain.backup_plan import DiskPlan, plan_disk
from csbs.domain.clock import Clock, NewId
from csbs.domain.consistency import Consistency
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
from csbs.domain.ids import BackupId, ProjectId, ServerId, TaskId, tracking_name
from csbs.domain.lookup import matching
from csbs.domain.server import ServerDescription, ServerRef, ServerState
from csbs.domain.task import TaskKind, new_task
from csbs.repository import ContentIndex, Repository
from csbs.services.disks import (
    IdentifiedDisks,
    disk_histories,
    identify_disks,
    reading_damaged_again,
)
from csbs.services.locks import Locks
from csbs.services.repositories import RepositoryAccess
from csbs.services.servers import ServerService, require_whole
from csbs.workflows.back_up_server import BackupTools, LookOn, ServerBackup, back_up_server
from csbs.workflows.delete_backup import delete_backup, measure_deletion
from csbs.workflows.owned_run import OwnedRun
from csbs.workflows.records import Records, retire_owed
from csbs.workflows.run import LocalRun, Watcher
from csbs.workflows.settle import settle

log = logging.getLogger(__name__)

#: Letters of any script (Chinese names are usual), digits, `_` and `-`.
_NAME = re.compile(r"\w[\w-]{0,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBackup:
    """What a caller asks for; `look_on` runs while the disks are still open."""

    server: str
    name: str | None = None
    #: Read all that is allocated, whatever is known of changes.
    full: bool = False
    consistency: Consistency = Consistency.FILESYSTEM
    #: None: what the settings say.
    limit_bytes_per_s: int | None = None
    look_on: LookOn | None = None


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

    def list_all(self, server: str | None = None) -> list[Backup]:
        """All backups, oldest first; of one server (id, prefix or name) if it is given."""
        with self.catalog.transaction() as transaction:
            found = backups.of_project(transaction, self.project_id)
        if server is None:
            return found
        named = [ServerRef(each.server_id, each.server_name) for each in found]
        ids = {each.id for each in matching(named, server)}
        if not ids:
            ids = {self.servers.find(server).id}
        return [each for each in found if each.server_id in ids]

    def find(self, wanted: str) -> Backup:
        """The backup with this id, prefix of an id, or name.

        Raises `BackupNotFound`, `BackupAmbiguous`.
        """
        found = matching(self.list_all(), wanted)
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
        if request.name is not None and not _NAME.fullmatch(request.name):
            raise InvalidName(
                request.name, "use 1 to 255 letters, digits, _ or -, and no - at the beginning"
            )
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
            self._settle(self._records(repository), found.id)
            server = _ready(self.driver.describe(found.id))
            return self._create(request, server, storage, watcher)

    def measure_deletion(self, wanted: str) -> DeletionPlan:
        """What deleting the backup changes in its server's storage; changes nothing."""
        backup = self.find(wanted)
        with self.repositories.shared("looking at a deletion") as repository:
            return measure_deletion(self._records(repository), backup, self._siblings(backup))

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
            records = self._records(repository)
            self._refuse_in_use(backup)
            plan = measure_deletion(records, backup, self._siblings(backup))
            self._settle(records, backup.server_id)
            try:
                with self.catalog.transaction() as transaction:
                    backup = backups.get(transaction, self.project_id, backup_id)
            except BackupNotFound:  # a deletion that a dead process began is finished now
                return plan
            plan = measure_deletion(records, backup, self._siblings(backup))
            task = new_task(TaskId(self.new_id()), TaskKind.DELETION, backup, at=self.clock())
            with self.catalog.transaction() as transaction:
                tasks.add(transaction, task)
            run = LocalRun(task, catalog=self.catalog, clock=self.clock, watcher=watcher)
            with run.watched():
                delete_backup(OwnedRun(run, repository.require_owner), records, plan)
            retire_owed(self.catalog, self.driver, self.project_id, backup.server_id)
            return plan

    def _settle(self, records: Records, server_id: ServerId) -> None:
        settle(records, self.project_id, server_id)
        retire_owed(self.catalog, self.driver, self.project_id, server_id)

    def _create(
        self,
        request: CreateBackup,
        server: ServerDescription,
        storage: tuple[Repository, ContentIndex],
        watcher: Watcher,
    ) -> Backup:
        repository, index = storage
        records = self._records(repository)
        identified = identify_disks(self.catalog, self.driver, self.project_id, server, self.new_id)
        plans = [
            reading_damaged_again(self.catalog, self.project_id, repository, plan)
            for plan in self._plan(server, identified, full=request.full)
        ]
        backup = self._new_backup(request, server, identified, plans, repository)
        task = new_task(TaskId(self.new_id()), TaskKind.BACKUP, backup, at=self.clock())
        with self.catalog.transaction() as transaction:
            servers.remember_server(transaction, self.project_id, server.id, server.name)
            servers.remember_disks(transaction, self.project_id, server.id, identified.disks)
            backups.add(transaction, backup)
            tasks.add(transaction, task)
        tools = BackupTools(
            records=records,
            driver=self.driver,
            index=index,
            copying=self._copying(request),
            auditing=AuditOptions(),
        )
        do = ServerBackup(backup, server, plans, tools, request.look_on)
        run = LocalRun(task, catalog=self.catalog, clock=self.clock, watcher=watcher)
        with run.watched():
            try:
                back_up_server(OwnedRun(run, repository.require_owner), do)
            except Exception as error:
                if not do.give_up(error):
                    raise
                log.warning("committed in spite of an error", extra={"why": str(error)})
        with self.catalog.transaction() as transaction:
            return backups.get(transaction, self.project_id, backup.id)

    def _copying(self, request: CreateBackup) -> CopyOptions:
        limit = request.limit_bytes_per_s or self.limit_bytes_per_s
        return replace(self.copying, rate_limit=None if limit is None else RateLimit(limit))

    def _plan(
        self, server: ServerDescription, identified: IdentifiedDisks, *, full: bool
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
        repository: Repository,
    ) -> Backup:
        backup_id = BackupId(self.new_id())
        now = self.clock()
        return Backup(
            id=backup_id,
            project_id=self.project_id,
            server_id=server.id,
            server_name=server.name,
            name=request.name or default_name(backup_id, {each.name for each in self.list_all()}),
            state=BackupState.PROTECTING,
            created_at=now,
            manifest_key=repository.manifest_key(backup_id, now),
            tracking=tracking_name(backup_id),
            consistency_asked=request.consistency,
            disks=tuple(
                _new_disk(match, plan)
                for (_, match), plan in zip(identified.disks, plans, strict=True)
            ),
        )

    def _refuse_in_use(self, backup: Backup) -> None:
        with self.catalog.transaction() as transaction:
            restore = servers.unfinished_restore(transaction, self.project_id, backup.server_id)
        if restore is not None and restore.backup_id == backup.id:
            raise BackupInUse(backup.id, f"a restore of {backup.server_name} is not finished")

    def _siblings(self, backup: Backup) -> Sequence[Backup]:
        with self.catalog.transaction() as transaction:
            return backups.of_server(transaction, self.project_id, backup.server_id)

    def _records(self, repository: Repository) -> Records:
        return Records(catalog=self.catalog, repository=repository, clock=self.clock)


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
