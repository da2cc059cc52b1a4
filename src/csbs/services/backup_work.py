"""Carrying out backups and deletions that were submitted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from csbs.catalog import backups, tasks
from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.errors import BackupNotFound, CsbsError, NotFound
from csbs.domain.server import ServerRef
from csbs.domain.task import Task
from csbs.repository import ContentIndex, Repository
from csbs.services.backups import BackupService
from csbs.services.requests import kept_backup_request
from csbs.services.servers import require_whole
from csbs.services.work import Attempt, CarryOut, Results
from csbs.workflows.records import CatalogRecords, forget_or_fail, retire_unused
from csbs.workflows.run import check_cancelled
from csbs.workflows.settle import settle_backup

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupWork:
    """See `Work`."""

    backups: BackupService

    def let_go(self, task: Task) -> None:
        """See `Work.let_go`: a frozen guest is thawed, a job and images that it holds go."""
        with suppress(NotFound):  # a server that is gone has nothing that could be left
            self.backups.driver.clean_up(task.server_id)

    @contextmanager
    def ready(self, task: Task, cancelled: Callable[[], bool]) -> Iterator[CarryOut]:
        """See `Work.ready`."""
        doing = f"backup of server {task.server_name}"
        with self.backups.repositories.writing(doing, cancelled=cancelled) as storage:
            yield partial(self._carry_out, storage)

    def fail(self, task: Task, error: Exception) -> None:
        """See `Work.fail`: a backup that never began has nothing that must be settled."""
        service = self.backups
        with suppress(BackupNotFound):
            with service.catalog.transaction() as transaction:
                backup = backups.get(transaction, task.project_id, task.backup_id)
            if backup.state is BackupState.PROTECTING and not backup.manifest_key:
                records = CatalogRecords(catalog=service.catalog, clock=service.clock)
                forget_or_fail(records, backup, error)

    def _carry_out(self, storage: tuple[Repository, ContentIndex], attempt: Attempt) -> None:
        if attempt.resumed:
            self._settle(storage[0], attempt.task)
            return
        service, task, run = self.backups, attempt.task, attempt.run
        with service.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
        check_cancelled(run, "the backup")
        service.require_space()
        require_whole(service.catalog, task.project_id, ServerRef(task.server_id, task.server_name))
        service.driver.clean_up(task.server_id)
        service.settle_server(storage[0], task.server_id)
        request = kept_backup_request(task.request, backup)
        what = service.plan_again(task, request, backup, storage[0])
        service.make(run, what, request, storage, attempt.cause)

    def _settle(self, repository: Repository, task: Task) -> None:
        """Ends what a former life of the service left of the backup."""
        service = self.backups
        try:
            settle_backup(service.records(repository), task)
        finally:
            try:
                retire_unused(service.catalog, service.driver, task.project_id, task.server_id)
            except CsbsError as error:  # the next backup tries again
                log.warning("tracking stays for now", extra={"why": str(error)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionWork:
    """See `Work`."""

    backups: BackupService
    results: Results

    def let_go(self, task: Task) -> None:
        """See `Work.let_go`: a deletion holds nothing."""

    @contextmanager
    def ready(self, task: Task, cancelled: Callable[[], bool]) -> Iterator[CarryOut]:
        """See `Work.ready`."""
        doing = f"deletion of a backup of server {task.server_name}"
        with self.backups.repositories.shared(doing, cancelled=cancelled) as repository:
            yield partial(self._carry_out, repository)

    def fail(self, task: Task, error: Exception) -> None:
        """See `Work.fail`: the backup is an error, and can be deleted again."""
        catalog = self.backups.catalog
        with suppress(BackupNotFound), catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
            if backup.state is BackupState.DELETING:
                failed = backup.to(BackupState.ERROR).failed(FailedOperation.DELETE, error)
                backups.save(transaction, failed)

    def _carry_out(self, repository: Repository, attempt: Attempt) -> None:
        task = attempt.task
        repository.require_owner()
        self.backups.settle_server(repository, task.server_id)
        with suppress(BackupNotFound):  # a former life came to the end
            plan = self.backups.delete_now(attempt.run, task.backup_id, repository)
            result = self.results.deleted(plan)
            if result is not None:
                with self.backups.catalog.transaction() as transaction:
                    tasks.set_result(transaction, task.project_id, task.id, result)
