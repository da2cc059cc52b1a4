"""What a dead csbs left in the catalog, and how the next command for that server settles it.

Whoever holds a server's lock knows that no other process works on it: a backup that is still
`protecting`, `restoring` or `deleting` then belongs to a process that died or could not finish.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from csbs.catalog import backups, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.domain.backup import Backup, BackupState
from csbs.domain.errors import BackupNotFound, Corrupt, OperationCancelled, Unavailable
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.task import Progress, Task, TaskKind, TaskState
from csbs.workflows.delete_backup import delete_backup, measure_deletion
from csbs.workflows.records import Records, fence, forget_or_fail, record_commit

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class ProcessDied(Unavailable):
    """The csbs that carried out a task is gone."""

    operation: str

    template = "csbs ended in the middle of {0.operation}"


@dataclass(eq=False)
class BackupCollected(Unavailable):
    """A collection removed what a backup had stored before it was committed."""

    backup: str

    template = "what backup {0.backup} had stored was removed before it was finished"


def settle(records: Records, project_id: ProjectId, server_id: ServerId) -> None:
    """Ends what dead processes left; the server's lock must be held.  May be repeated.

    A backup whose manifest is there becomes `available`; one without is fenced, so that it can
    never be committed later, and becomes `error` (or disappears, if a cancel was asked for).  A
    deletion is finished.  An unfinished restore stays marked: only a restore ends it.  What a
    service has taken over is left to the service, also while it is not there.
    """
    with records.catalog.transaction() as transaction:
        unended = tasks.open_of_server(transaction, project_id, server_id)
        owned = {task.backup_id for task in unended if task.durable}
        open_backups = [
            each
            for each in backups.of_server(transaction, project_id, server_id)
            if each.state in _SETTLERS and each.id not in owned
        ]
    dead = [task for task in unended if not task.durable]
    for backup in open_backups:
        task = next((each for each in dead if each.backup_id == backup.id), None)
        log.warning("settling what a dead process left", extra={"backup_id": backup.id})
        _SETTLERS[backup.state](records, backup, task)
    for task in dead:
        _end(records, task, _outcome(records, task))


def settle_backup(records: Records, task: Task) -> None:
    """Ends a backup that a former life of the service was making; the server must be let go.

    Returns if it was committed.  Raises `ProcessDied` if not, and `OperationCancelled` if a cancel
    was asked for; the backup's row is ended accordingly.
    """
    try:
        with records.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
    except BackupNotFound:
        raise OperationCancelled("the backup") from None
    if backup.state is BackupState.PROTECTING:
        _settle_protecting(records, backup, task)
        with suppress(BackupNotFound), records.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
    if backup.state is BackupState.AVAILABLE:
        return
    if task.cancel_requested:
        raise OperationCancelled("the backup")
    raise ProcessDied("the backup")


def _settle_protecting(records: Records, backup: Backup, task: Task | None) -> None:
    try:
        fenced = fence(records, backup)
    except Corrupt as error:
        forget_or_fail(records, backup, error)
        return
    if not fenced and records.repository.is_whole(backup.manifest_key):
        record_commit(records, backup)
    elif not fenced:  # whoever put the manifest had lost its lock, and a collection ran
        key, now = backup.manifest_key, records.clock()
        records.repository.delete(key, backup.id, deleted_at=now)
        forget_or_fail(records, backup, BackupCollected(backup.id))
    elif task is not None and task.cancel_requested:
        forget_or_fail(records, backup, OperationCancelled("the backup"))
    else:
        forget_or_fail(records, backup, ProcessDied("the backup"))


def _settle_restoring(records: Records, backup: Backup, _task: Task | None) -> None:
    with records.catalog.transaction() as transaction:
        backups.set_state(transaction, backup.project_id, backup.id, BackupState.AVAILABLE)


def _settle_deleting(records: Records, backup: Backup, _task: Task | None) -> None:
    with records.catalog.transaction() as transaction:
        of_server = backups.of_server(transaction, backup.project_id, backup.server_id)
    delete_backup(_Unwatched(), records, measure_deletion(records, backup, of_server))


_SETTLERS: dict[BackupState, Callable[[Records, Backup, Task | None], None]] = {
    BackupState.PROTECTING: _settle_protecting,
    BackupState.RESTORING: _settle_restoring,
    BackupState.DELETING: _settle_deleting,
}


def _outcome(records: Records, task: Task) -> TaskOutcome:
    """How the task ended: a backup that was committed is done, whoever died afterwards."""
    if task.kind is TaskKind.BACKUP:
        with suppress(BackupNotFound), records.catalog.transaction() as transaction:
            backup = backups.get(transaction, task.project_id, task.backup_id)
            if backup.state is BackupState.AVAILABLE:
                return TaskOutcome(state=TaskState.DONE, ended_at=records.clock())
    error = ProcessDied(f"the {task.kind}")
    return TaskOutcome(
        state=TaskState.CANCELLED if task.cancel_requested else TaskState.ERROR,
        ended_at=records.clock(),
        error_kind=error.kind,
        error_code=type(error).__name__,
        error_object=error.object_name,
        error_message=str(error),
    )


def _end(records: Records, task: Task, outcome: TaskOutcome) -> None:
    with records.catalog.transaction() as transaction:
        tasks.end(transaction, task.project_id, task.id, outcome)


class _Unwatched:
    """A `Run` without a task of its own: settling is part of another operation."""

    def step(self, name: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does the step."""
        del name
        return action(*args, **kwargs)

    def progress(self, progress: Progress) -> None:
        """Nobody looks on."""

    def cancelled(self) -> bool:
        """Nobody can ask."""
        return False
