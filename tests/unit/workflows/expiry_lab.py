"""Policies whose backups expire, by the test's clock; nothing is copied, and nothing deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from csbs.catalog import Catalog, Transaction, backups, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.ids import BackupId, CheckpointId, ServerId, tracking_name
from csbs.domain.policy import Policy
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.repository.errors import StoreUnavailable
from csbs.services.expiry import ExpiryService
from tests.unit.workflows.schedule_lab import ScheduleLab

DAY = timedelta(days=1)


class WatchedCatalog(Catalog):
    """A catalog in which something happens just before the n-th transaction from now."""

    fired = False
    _n = 0
    _action: Callable[[], None] = staticmethod(lambda: None)

    def before(self, n: int, action: Callable[[], Any]) -> None:
        """Does it once."""
        self._n, self._action = n, lambda: (action(), None)[1]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._n -= 1
        if self._n == 0:
            self._action()
            self.fired = True
        with super().transaction() as transaction:
            yield transaction


class ExpiryLab(ScheduleLab):
    """Backups of `s1` and `s2` are made by the test, at `now`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.watched = WatchedCatalog(self.catalog._engine, name="the watched catalog")
        self.expiry = ExpiryService(
            catalog=self.watched,
            project_id=self.project_id,
            backups=replace(self.policies.backups, clock=self.clock),
            region_zone="UTC",
        )

    def make(
        self,
        policy: Policy | None,
        server_id: str = "s1",
        *,
        at: datetime | None = None,
        state: BackupState = BackupState.AVAILABLE,
        auto: bool = True,
    ) -> Backup:
        """A backup that was made before."""
        backup_id = BackupId(str(uuid4()))
        made = Backup(
            id=backup_id,
            project_id=self.project_id,
            server_id=ServerId(server_id),
            server_name=server_id,
            name=f"autobk_{backup_id[:8]}",
            state=state,
            created_at=at or self.now,
            manifest_key="" if state is BackupState.ERROR else backup_id,
            tracking=tracking_name(backup_id),
            checkpoint_id=CheckpointId(backup_id),
            disks=(),
            policy_id=policy.id if policy else None,
            auto_trigger=auto,
            fail_op=FailedOperation.BACKUP if state is BackupState.ERROR else None,
        )
        with self.catalog.transaction() as transaction:
            backups.add(transaction, made)
        return made

    def nightly(self, policy: Policy, count: int, server_id: str = "s1") -> list[Backup]:
        """One for each of the last nights, oldest first."""
        return [
            self.make(policy, server_id, at=self.now - each * DAY)
            for each in range(count - 1, -1, -1)
        ]

    def expire(self) -> list[str]:
        """Ids of backups whose deletions were submitted, in order."""
        return [each.backup_id for each in self.expiry.expire_due(self.now).submitted]

    def deletions(self) -> list[Task]:
        return [each for each in self.tasks() if each.kind is TaskKind.DELETION]

    def delete(self) -> None:
        """The deletions that were submitted end well."""
        while self.runner.held:
            self._end(self.runner.held.popitem()[1], TaskState.DONE)

    def fail_deletions(self) -> None:
        """They fail, as `DeletionWork.fail` leaves it."""
        while self.runner.held:
            self._end(self.runner.held.popitem()[1], TaskState.ERROR)

    def _end(self, task: Task, state: TaskState) -> None:
        with self.catalog.transaction() as transaction:
            outcome = TaskOutcome(state=state, ended_at=self.now)
            tasks.end(transaction, self.project_id, task.id, outcome)
            if state is TaskState.DONE:
                backups.remove(transaction, self.project_id, task.backup_id)
                return
            backup = backups.get(transaction, self.project_id, task.backup_id)
            error = StoreUnavailable("manifests", "it did not answer")
            failed = backup.to(BackupState.ERROR).failed(FailedOperation.DELETE, error)
            backups.save(transaction, failed)
