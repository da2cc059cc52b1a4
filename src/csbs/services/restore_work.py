"""Carrying out restores that were submitted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from csbs.catalog import backups, servers, tasks
from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.errors import (
    BackupNotFound,
    CatalogFailed,
    CsbsError,
    PlanChanged,
    Unavailable,
)
from csbs.domain.server import ServerDescription, ServerState
from csbs.domain.task import Task
from csbs.repository import Repository
from csbs.services.requests import KeptRestore, keep_restore, kept_restore, written
from csbs.services.restores import RestoreService, require_restorable, restored
from csbs.services.work import Attempt, CarryOut, Results
from csbs.workflows.restore_server import ServerRestore, restore_server
from csbs.workflows.run import check_cancelled
from csbs.workflows.settle import ProcessDied

log = logging.getLogger(__name__)

#: A restore during which the service dies as often as this is not begun again.
_ATTEMPTS_MAX = 5


@dataclass(eq=False)
class RestoreLeftUnfinished(Unavailable):
    """A restore failed after its first write."""

    server: str
    backup: str
    why: str

    template = (
        "the restore of server {0.server} broke off: {0.why}. The server stays stopped, its disks "
        "are half written: restore backup {0.backup} again, or another one of it"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWork:
    """See `Work`."""

    restores: RestoreService
    results: Results

    def let_go(self, task: Task) -> None:
        """See `Work.let_go`: images that may be half written stay locked until it goes on."""

    @contextmanager
    def ready(self, task: Task, cancelled: Callable[[], bool]) -> Iterator[CarryOut]:
        """See `Work.ready`."""
        doing = f"restore of server {task.server_name}"
        with self.restores.repositories.shared(doing, cancelled=cancelled) as repository:
            yield partial(self._carry_out, repository)

    def fail(self, task: Task, error: Exception) -> None:
        """See `Work.fail`: the backup can be restored again; a server that ran runs again.

        After the first write it stays stopped.
        """
        service = self.restores
        with suppress(BackupNotFound), service.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
            if backup.state is BackupState.RESTORING:
                failed = backup.to(BackupState.AVAILABLE).failed(FailedOperation.RESTORE, error)
                backups.save(transaction, failed)
        try:
            self._start_again(task)
        except CsbsError as failure:
            log.warning("the server was not started again", extra={"why": str(failure)})

    def _start_again(self, task: Task) -> None:
        service = self.restores
        with service.catalog.transaction() as transaction:
            kept = kept_restore(tasks.get(transaction, task.project_id, task.id).request)
        if not kept.found_running or self._is_marked(task):
            return
        if service.driver.describe(task.server_id).state is ServerState.STOPPED:
            service.driver.clean_up(task.server_id)
            service.driver.start(task.server_id)

    def _carry_out(self, repository: Repository, attempt: Attempt) -> None:
        task = attempt.task
        if attempt.resumed and self._has_written(task):
            self._finish(task)
            return
        try:
            self._restore(repository, attempt)
        except Exception as error:
            if isinstance(error, CatalogFailed) or not self._is_marked(task):
                raise  # the former is gone on with
            cause = attempt.cause(error)
            raise RestoreLeftUnfinished(task.server_name, task.backup_id, str(cause)) from error
        self._set_available(task)

    def _has_written(self, task: Task) -> bool:
        """Whether a former life had written all disks: the server may be in service again."""
        return not task.cancellable and not self._is_marked(task)

    def _finish(self, task: Task) -> None:
        service = self.restores
        if kept_restore(task.request).request.power_on:
            service.driver.start(task.server_id)
        self._set_available(task)

    def _set_available(self, task: Task) -> None:
        with self.restores.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
            if backup.state is BackupState.RESTORING:
                backups.set_state(transaction, task.project_id, backup.id, BackupState.AVAILABLE)

    def _restore(self, repository: Repository, attempt: Attempt) -> None:
        service, task, run = self.restores, attempt.task, attempt.run
        if task.cancellable:
            check_cancelled(run, "the restore")
        service.driver.clean_up(task.server_id)
        service.settle_server(repository, task.server_id)
        with service.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
            service.lease(transaction, task, backup)
        require_restorable(backup)
        server = service.driver.describe(task.server_id)
        kept = self._keep_attempt(task, server)
        plan = service.plan_for(backup, server)
        if task.cancellable and written(plan) != kept.agreed:
            raise PlanChanged(server.name)
        tools = replace(
            service.tools(repository, kept.request),
            was_running=bool(kept.found_running),
            task_id=task.id,
        )
        do = ServerRestore(plan, server, tools)
        restore_server(run, do, plan, power_on=kept.request.power_on)
        result = self.results.restored(restored(do), kept.request.power_on)
        if result is not None:
            with service.catalog.transaction() as transaction:
                tasks.set_result(transaction, task.project_id, task.id, result)

    def _keep_attempt(self, task: Task, server: ServerDescription) -> KeptRestore:
        kept = kept_restore(task.request)
        if kept.attempts >= _ATTEMPTS_MAX:
            raise ProcessDied("the restore")
        if kept.found_running is None:
            kept = replace(kept, found_running=server.state is ServerState.RUNNING)
        kept = replace(kept, attempts=kept.attempts + 1)
        with self.restores.catalog.transaction() as transaction:
            tasks.set_request(transaction, task.project_id, task.id, keep_restore(kept))
        return kept

    def _is_marked(self, task: Task) -> bool:
        with self.restores.catalog.transaction() as transaction:
            found = servers.unfinished_restore(transaction, task.project_id, task.server_id)
        return found is not None
