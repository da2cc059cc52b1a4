"""Forgetting what is old, so that the catalog of a service that runs for years stays small."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from csbs.catalog import Catalog, Transaction, events, pruning
from csbs.domain.clock import Clock
from csbs.domain.ids import ProjectId
from csbs.domain.task import TaskState

log = logging.getLogger(__name__)

#: Forgets at most so many rows, and returns how many it forgot.
Forget = Callable[[Transaction, int], int]

#: Others wait while these are deleted: for less than 0.1 s on a busy machine.
_ROWS_MAX = 200
#: Of one kind in one round; a round comes each minute.
_BATCHES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepDays:
    """How long what is kept; None: for ever."""

    #: Tasks that were done or cancelled.
    tasks: int | None = 90
    #: Tasks that failed: somebody may not have seen them yet.
    failed_tasks: int | None = 365
    audit: int | None = 365
    events: int | None = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Forgets ended tasks, old events, the old part of the audit trail, tokens and signatures."""

    catalog: Catalog
    clock: Clock
    keep: KeepDays
    rows_max: int = _ROWS_MAX
    batches_max: int = _BATCHES_MAX

    def prune(self, projects: Iterable[ProjectId]) -> int:
        """One bounded round; returns how many rows went.  Raises `CatalogFailed`."""
        now = self.clock()
        total = 0
        for what, forget in self._kinds(projects, now):
            count = self._in_batches(forget)
            if count:
                log.info("forgot what is old", extra={"what": what, "count": count})
            total += count
        return total

    def _kinds(self, projects: Iterable[ProjectId], now: datetime) -> Iterable[tuple[str, Forget]]:
        failed = self.keep.failed_tasks, (TaskState.ERROR,)
        others = self.keep.tasks, (TaskState.DONE, TaskState.CANCELLED)
        for project_id in projects:
            for days, states in (failed, others):
                if days is not None:
                    yield "tasks", partial(_tasks, project_id, states, now - timedelta(days))
        if self.keep.audit is not None:
            yield "audit events", partial(_audit_trail, now - timedelta(self.keep.audit))
        if self.keep.events is not None:
            yield "events", partial(_events, now - timedelta(self.keep.events))
        yield "tokens", partial(_tokens, now)
        yield "signatures", partial(_signatures, now)

    def _in_batches(self, forget: Forget) -> int:
        total = 0
        for _ in range(self.batches_max):
            with self.catalog.transaction() as transaction:
                count = forget(transaction, self.rows_max)
            total += count
            if count < self.rows_max:
                break
        return total


def _tasks(
    project_id: ProjectId,
    states: tuple[TaskState, ...],
    before: datetime,
    transaction: Transaction,
    rows_max: int,
) -> int:
    return pruning.ended_tasks(transaction, project_id, states, before, rows_max)


def _audit_trail(before: datetime, transaction: Transaction, rows_max: int) -> int:
    return pruning.audit_trail(transaction, before, rows_max)


def _events(before: datetime, transaction: Transaction, rows_max: int) -> int:
    return events.forget(transaction, before=before, limit=rows_max)


def _tokens(now: datetime, transaction: Transaction, rows_max: int) -> int:
    return pruning.expired_tokens(transaction, now, rows_max)


def _signatures(now: datetime, transaction: Transaction, rows_max: int) -> int:
    return pruning.expired_signatures(transaction, now, rows_max)
