"""Collection by itself: after deletions, when nobody uses the repository.

Collection excludes everybody else by a lock.  One that began by itself gives way: whoever asks for
the repository tells it to stop, which it does between two calls of the store, and waits for that.
Each call of a collection may be its last (`csbs.repository.collect`), so it stops anywhere, and the
next one begins anew with what is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from csbs.catalog import Catalog, collections, events
from csbs.compute.base import never
from csbs.domain.clock import Clock, Monotonic
from csbs.domain.collection import CollectionDecision, Step, collection_due
from csbs.domain.errors import CsbsError, OperationCancelled
from csbs.domain.events import collection_late
from csbs.domain.ids import ProjectId
from csbs.services.repositories import RepositoryAccess

log = logging.getLogger(__name__)

#: How often one that runs looks whether another process asks for the repository.
_LOOK_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionService:
    """Collections of one project that begin by themselves."""

    catalog: Catalog
    project_id: ProjectId
    repositories: RepositoryAccess
    monotonic: Monotonic

    def collect_due(
        self, now: datetime, stopping: Callable[[], bool] = never
    ) -> CollectionDecision:
        """Collects if it is time to; returns what was decided.  May be called again and again.

        A collection ends early soon after `stopping` says so.  What fails is logged, and tried
        again later.
        """
        with self.catalog.transaction() as transaction:
            facts = collections.facts(transaction, self.project_id)
            in_use = collections.is_in_use(transaction, self.project_id)
        decision = collection_due(facts, now, in_use=in_use)
        if decision.alarm:
            assert facts.wanted_since is not None, "nothing else is overdue"
            self._alarm(facts.wanted_since, now, decision.why)
        if decision.step is Step.BEGIN:
            self._collect(now, stopping)
        return decision

    def _collect(self, now: datetime, stopping: Callable[[], bool]) -> None:
        with self.catalog.transaction() as transaction:
            collections.begin(transaction, self.project_id, at=now)
        try:
            report = self.repositories.collect_until_asked(self._asked_elsewhere(stopping))
        except CsbsError as error:
            level = logging.INFO if isinstance(error, OperationCancelled) else logging.WARNING
            log.log(level, "a collection ended early", extra={"why": str(error)})
            with self.catalog.transaction() as transaction:
                collections.break_off(transaction, self.project_id, str(error))
        else:
            log.info(
                "a collection has ended",
                extra={"project_id": self.project_id, "freed_bytes": report.freed_bytes},
            )

    def _asked_elsewhere(self, stopping: Callable[[], bool]) -> Callable[[], bool]:
        """Whether this process ends, or a task of any process asks for the repository."""
        looked_at = self.monotonic()

        def asked() -> bool:
            nonlocal looked_at
            if stopping():
                return True
            if self.monotonic() - looked_at < _LOOK_INTERVAL_S:
                return False
            looked_at = self.monotonic()
            with self.catalog.transaction() as transaction:
                return collections.is_in_use(transaction, self.project_id)

        return asked

    def _alarm(self, since: datetime, now: datetime, why: str) -> None:
        log.error(
            "no collection has come to its end for 7 days: deleted backups still take space",
            extra={"project_id": self.project_id, "why": why},
        )
        with self.catalog.transaction() as transaction:
            events.add(transaction, [collection_late(self.project_id, since=since, at=now)])
            collections.alarm(transaction, self.project_id, at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionWaits:
    """For who looks after a region: how long deleted backups have taken space."""

    catalog: Catalog
    clock: Clock

    def waits_s(self) -> list[float]:
        """For each project where something waits to be freed: how long, longest first."""
        with self.catalog.transaction() as transaction:
            since = collections.waiting_since(transaction)
        now = self.clock()
        return [max(0.0, (now - each).total_seconds()) for each in since]
