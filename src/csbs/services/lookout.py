"""Looks for what nobody's action shows, and keeps what is told of it bounded."""

from __future__ import annotations

import logging

from csbs.catalog import Catalog, notifications
from csbs.domain.clock import Clock
from csbs.domain.notification import WAITING_MAX
from csbs.services.rpo import RpoLook, RpoSummary

log = logging.getLogger(__name__)


class Lookout:
    """Looks, and remembers what it saw last."""

    def __init__(self, rpo: RpoLook) -> None:
        self._rpo = rpo
        self._summary = RpoSummary()

    @property
    def summary(self) -> RpoSummary:
        """What the last look found."""
        return self._summary

    def look(self) -> None:
        """One look.  Raises `CatalogFailed`."""
        self._summary = self._rpo.look()
        _drop_too_many(self._rpo.catalog, self._rpo.clock)


def _drop_too_many(catalog: Catalog, clock: Clock) -> None:
    """Drops what waits for a target beyond what is kept for it, the oldest first."""
    with catalog.transaction() as transaction:
        targets = notifications.with_backlog(transaction)
    for target in targets:
        with catalog.transaction() as transaction:
            dropped = notifications.drop_oldest(transaction, target, kept=WAITING_MAX, at=clock())
        if dropped:
            log.warning(
                "too many events wait for a notification: the oldest are dropped",
                extra={"notification": target.name, "project_id": target.project_id},
            )
