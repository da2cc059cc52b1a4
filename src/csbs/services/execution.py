"""Carrying out tasks that were submitted, and going on with those of a former life of the service.

A task that waits is begun when nobody else works on its server or alone on the repository.  One
that already runs when it comes here was left by a process that died:

backup     nothing of it can be gone on with: it is recorded if it was committed, else it fails, the
           server is let go, and its TrackingPoint goes
restore    is begun again: disks that may be half written are compared, and written
deletion   is finished

What fails is in the task, and in the backup.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from csbs.catalog import Catalog, backups, tasks
from csbs.compute.base import ComputeDriver
from csbs.domain.clock import Clock
from csbs.domain.errors import (
    CatalogFailed,
    CsbsError,
    OperationCancelled,
    TaskNotFound,
    Unavailable,
)
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.server import ServerRef
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.services.backup_work import BackupWork, DeletionWork
from csbs.services.backups import BackupService
from csbs.services.locks import Locks
from csbs.services.repositories import RepositoryAccess
from csbs.services.restore_work import RestoreWork
from csbs.services.restores import RestoreService
from csbs.services.servers import require_whole
from csbs.services.work import Attempt, CarryOut, Results, Work
from csbs.workflows.run import LocalRun, Watcher
from csbs.workflows.runner import Control

log = logging.getLogger(__name__)

#: How long a task waits for a stop of its server, or a collection; then it fails, and says so.
_LOCK_WAIT_S = 3600.0
#: How long a task that can be gone on with waits for a catalog that broke off, and how often; then
#: the next round of the engine begins it again.
_CATALOG_WAIT_S = 60.0
_CATALOG_INTERVAL_S = 1.0
_ATTEMPTS_MAX = 5


@dataclass(eq=False)
class ServiceStopped(Unavailable):
    """The service was stopped while it carried a task out."""

    operation: str

    template = "csbs was stopped in the middle of {0.operation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExecutor:
    """Carries out the tasks of one project."""

    catalog: Catalog
    project_id: ProjectId
    driver: ComputeDriver
    backups: BackupService
    restores: RestoreService
    repositories: RepositoryAccess
    locks: Locks
    clock: Clock
    lock_wait_s: float = _LOCK_WAIT_S
    results: Results = field(default_factory=Results)

    def execute(self, task_id: TaskId, control: Control) -> None:
        """Carries the task out to its end, and raises nothing.

        One that has ended is left alone; one that still waits when the service stops is left
        waiting, for the next life.
        """
        try:
            with self.catalog.transaction() as transaction:
                task = tasks.get(transaction, self.project_id, task_id)
            if task.is_open:
                self._execute(task, control)
        except TaskNotFound:  # forgotten by somebody
            return
        except Exception:  # the top of a thread: nobody else would tell
            log.exception("a task ended with an error", extra={"task_id": task_id})

    def open_tasks(self) -> list[Task]:
        """Tasks that a former life left, oldest first."""
        with self.catalog.transaction() as transaction:
            found = tasks.open_of_project(transaction, self.project_id)
        return [each for each in found if each.durable]

    def settle_leftovers(self) -> None:
        """Ends what no task will end any more: backups whose end could not be recorded.

        Also tasks of local commands that died, by which their servers are busy for ever else.
        Servers that are at work are left for the next time, and so is what fails.
        """
        for server in self._left_over():
            try:
                with (
                    self.locks.server(server, "settling"),
                    self.repositories.shared("settling") as repository,
                ):
                    # Cleaning up would let go of the images that a restore left half written.
                    require_whole(self.catalog, self.project_id, server)
                    self.driver.clean_up(server.id)
                    self.backups.settle_server(repository, server.id)
            except CsbsError as error:
                log.warning("not settled yet", extra={"server": server.name, "why": str(error)})

    def _left_over(self) -> list[ServerRef]:
        # A task of a local command is nobody's: none runs beside a service.
        with self.catalog.transaction() as transaction:
            unended = tasks.open_of_project(transaction, self.project_id)
            found = {each.id: each for each in backups.unsettled(transaction, self.project_id)}
        found |= {
            task.server_id: ServerRef(task.server_id, task.server_name)
            for task in unended
            if not task.durable
        }
        busy = {task.server_id for task in unended if task.durable}
        return [each for each in found.values() if each.id not in busy]

    def _execute(self, task: Task, control: Control) -> None:
        with ExitStack() as held:
            work = self._works()[task.kind]
            try:
                carry_out = self._enter(held, task, work, control)
            except OperationCancelled:  # whoever cancelled it has ended it; else the next life does
                return
            except CatalogFailed:  # nothing is begun: the engine gives it to the runner again
                raise
            except CsbsError as error:
                carry_out = _failing(error)
            present = self._begun(task)
            if present is None:
                return
            if present.cancel_requested:
                control.cancel.set()
            watcher = Watcher(on_progress=lambda _: None, cancel=control.cancel)
            run = LocalRun(present, catalog=self.catalog, clock=self.clock, watcher=watcher)
            attempt = Attempt(
                task=present,
                run=run,
                resumed=task.state is TaskState.RUNNING,
                cause=lambda error: self._cause(present, control, error),
            )
            with suppress(CsbsError), run.watched():
                self._carry_out(work, carry_out, attempt, control)

    def _carry_out(
        self, work: Work, carry_out: CarryOut, attempt: Attempt, control: Control
    ) -> None:
        for left in reversed(range(_ATTEMPTS_MAX)):
            try:
                carry_out(attempt)
            except Exception as error:
                hopeful = bool(left) and isinstance(error, CatalogFailed)
                again = self._again(attempt, control) if hopeful else None
                if again is None:
                    cause = attempt.cause(error)
                    work.fail(attempt.task, cause)
                    if cause is error:
                        raise
                    raise cause from error
                attempt = again
            else:
                return

    def _again(self, attempt: Attempt, control: Control) -> Attempt | None:
        """The next attempt, when the catalog answers again; None: this was the last one.

        It must not fail for a database that was restarted, as long as it can be gone on with.
        """
        task = attempt.task
        end = self.locks.monotonic() + _CATALOG_WAIT_S
        while task.kind is not TaskKind.BACKUP and not control.stopping.is_set():
            try:
                with self.catalog.transaction() as transaction:
                    present = tasks.get(transaction, task.project_id, task.id)
            except CatalogFailed:
                if self.locks.monotonic() >= end:
                    return None
                self.locks.sleep(_CATALOG_INTERVAL_S)
            else:
                return replace(attempt, task=present, resumed=True)
        return None

    def _works(self) -> dict[TaskKind, Work]:
        return {
            TaskKind.BACKUP: BackupWork(backups=self.backups),
            TaskKind.DELETION: DeletionWork(backups=self.backups, results=self.results),
            TaskKind.RESTORE: RestoreWork(restores=self.restores, results=self.results),
        }

    def _enter(self, held: ExitStack, task: Task, work: Work, control: Control) -> CarryOut:
        server = ServerRef(task.server_id, task.server_name)
        # A cancel of one that runs already is for its workflow, which has something to undo.
        waiting = task.state is TaskState.WAITING
        given_up = (control.cancel if waiting else control.stopping).is_set
        self.locks.enter(
            held,
            lambda: self.locks.server(server, task.kind),
            cancelled=given_up,
            wait_s=self.lock_wait_s,
        )
        if not waiting:
            work.let_go(task)
        return self.locks.enter(
            held,
            lambda: work.ready(task, control.cancel.is_set),
            cancelled=given_up,
            wait_s=self.lock_wait_s,
        )

    def _begun(self, task: Task) -> Task | None:
        """The task as it is now, and runs; None: somebody ended it while it waited."""
        with self.catalog.transaction() as transaction:
            if task.state is TaskState.WAITING:
                return tasks.begin(transaction, self.project_id, task.id, at=self.clock())
            return tasks.get(transaction, self.project_id, task.id)

    def _cause(self, task: Task, control: Control, error: Exception) -> Exception:
        if not (isinstance(error, OperationCancelled) and control.stopping.is_set()):
            return error
        with self.catalog.transaction() as transaction:
            wanted = tasks.is_cancel_requested(transaction, self.project_id, task.id)
        return error if wanted else ServiceStopped(f"the {task.kind}")


def _failing(error: CsbsError) -> CarryOut:
    """For what cannot be begun."""

    def carry_out(_attempt: Attempt) -> None:
        raise error

    return carry_out
