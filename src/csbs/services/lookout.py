"""Looks for what nobody's action shows, and keeps what is told of it bounded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from csbs.catalog import Catalog, events, notifications
from csbs.domain.clock import Clock
from csbs.domain.notification import WAITING_MAX
from csbs.services.rpo import RpoLook, RpoSummary

log = logging.getLogger(__name__)

#: Forgotten in one transaction: others wait for its end.
_FORGOTTEN_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKeeping:
    """What becomes of events in time."""

    catalog: Catalog
    clock: Clock
    #: So long they are kept.
    kept: timedelta

    def forget_old(self) -> int:
        """Forgets events that are too old, in all projects; returns how many went."""
        count, before = 0, self.clock() - self.kept
        while True:
            with self.catalog.transaction() as transaction:
                gone = events.forget(transaction, before=before, limit=_FORGOTTEN_MAX)
            count += gone
            if gone < _FORGOTTEN_MAX:
                return count

    def drop_too_many(self) -> None:
        """Drops what waits for a target beyond what is kept for it, the oldest first."""
        with self.catalog.transaction() as transaction:
            targets = notifications.with_backlog(transaction)
        for target in targets:
            with self.catalog.transaction() as transaction:
                dropped = notifications.drop_oldest(
                    transaction, target, kept=WAITING_MAX, at=self.clock()
                )
            if dropped:
                log.warning(
                    "too many events wait for a notification: the oldest are dropped",
                    extra={"notification": target.name, "project_id": target.project_id},
                )


class Lookout:
    """Looks, and remembers what it saw last."""

    def __init__(self, rpo: RpoLook, keeping: EventKeeping) -> None:
        self._rpo = rpo
        self._keeping = keeping
        self._summary = RpoSummary()

    @property
    def summary(self) -> RpoSummary:
        """What the last look found."""
        return self._summary

    def look(self) -> None:
        """One look.  Raises `CatalogFailed`."""
        self._summary = self._rpo.look()
        self._keeping.drop_too_many()
        self._keeping.forget_old()
