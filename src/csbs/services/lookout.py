"""Looks once a minute for what nobody's action shows, and keeps what is told of it bounded."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import timedelta

from csbs.catalog import Catalog, events, notifications
from csbs.domain.clock import Clock
from csbs.domain.errors import CatalogFailed
from csbs.domain.notification import WAITING_MAX
from csbs.services.rpo import RpoLook, RpoSummary

log = logging.getLogger(__name__)

_INTERVAL_S = 60.0
#: Forgotten in one transaction: others wait for its end.
_FORGOTTEN_MAX = 1000
_STOP_WAIT_S = 10.0


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
    """A thread that looks."""

    def __init__(
        self, rpo: RpoLook, keeping: EventKeeping, *, interval_s: float = _INTERVAL_S
    ) -> None:
        self._rpo = rpo
        self._keeping = keeping
        self._interval_s = interval_s
        self._summary = RpoSummary()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lookout", daemon=True)

    @property
    def summary(self) -> RpoSummary:
        """What the last look found."""
        return self._summary

    def start(self) -> None:
        """Begins to look; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the look that is under way, and looks no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)

    def look(self) -> None:
        """One look.  Raises `CatalogFailed`."""
        self._summary = self._rpo.look()
        self._keeping.drop_too_many()
        self._keeping.forget_old()

    def _work(self) -> None:
        while True:
            try:
                self.look()
            except CatalogFailed as error:
                log.warning("nothing is looked after for now", extra={"why": str(error)})
            except Exception:  # the top of a thread: the next round tries again
                log.exception("looking failed")
            if self._stopping.wait(self._interval_s):
                return
