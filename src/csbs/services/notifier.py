"""Sends events to where projects want them, for as long as a service runs.

Which event goes where, and how far it is, is in the catalog: a restart loses none, and sends again
what was sent and not recorded (receivers know it by its id).  Of one target events are sent one
after the other, oldest first; one that fails is left alone for a while, longer each time, with all
that waits for it.  Threads of their own do it, and no transaction is open meanwhile: a receiver
that is dead or slow delays nobody's backup, and no other target for longer than its turn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from csbs.catalog import Catalog, events, notifications
from csbs.domain.clock import Clock, Monotonic
from csbs.domain.errors import CatalogFailed
from csbs.domain.events import Event
from csbs.domain.notification import (
    DELAY_MAX,
    Channel,
    DeliveryEnd,
    DeliveryState,
    SendFailure,
    Target,
    delay_after,
    is_expired,
)
from csbs.domain.texts import made_usable
from csbs.services.sending import Sending

log = logging.getLogger(__name__)

#: Targets that are served at once.
_SENDERS = 4
#: How long one target may keep a sender; then it is the others' turn.
_TURN_S = 30.0
#: A target that is served is nobody else's for so long: longer than a turn and its last sending.
_CLAIM = timedelta(minutes=2)
_LOOK_S = 5.0
#: Sentences of a mail may be fewer (`csbs.domain.event_text`).
_MAIL_EVENTS_MAX = 1000
_EXPIRED_MAX = 1000
_STOP_WAIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """One target at a time: what waits for it is sent, and what came of it recorded."""

    catalog: Catalog
    sending: Sending
    clock: Clock
    monotonic: Monotonic

    def due(self, limit: int) -> list[Target]:
        """Targets whose turn has come, taken for the caller: they are nobody else's for a while."""
        now = self.clock()
        with self.catalog.transaction() as transaction:
            # No delay is longer: what is further away was set by a clock that was wrong.
            until = now + max(DELAY_MAX, _CLAIM)
            found = notifications.due(transaction, now, until=until, limit=limit)
            for target in found:
                notifications.leave_alone(transaction, target, now + _CLAIM)
        return found

    def begin(self) -> None:
        """A service begins, which has the catalog for itself: nobody else is at it still."""
        with self.catalog.transaction() as transaction:
            notifications.end_claims(transaction, self.clock())

    def serve(self, target: Target, stopped: Callable[[], bool] = lambda: False) -> None:
        """Sends what waits for the target, until that fails, its turn is over, or all is stopped.

        What is being sent is sent to its end.
        """
        end = self.monotonic() + _TURN_S
        while True:
            batch = self._waiting(target)
            if not batch:
                break
            sent = self._send(target, batch)
            if not sent:
                return
            if stopped() or self.monotonic() >= end:
                break
        with self.catalog.transaction() as transaction:
            # At the end of the queue of those who have their turn.
            notifications.leave_alone(transaction, target, self.clock())

    def _waiting(self, target: Target) -> list[Event]:
        limit = _MAIL_EVENTS_MAX if target.channel is Channel.MAIL else 1
        with self.catalog.transaction() as transaction:
            numbers = notifications.waiting(transaction, target, limit=limit)
            return events.by_numbers(transaction, target.project_id, numbers)

    def _send(self, target: Target, batch: Sequence[Event]) -> bool:
        """Whether the target takes more."""
        failure = self.sending.send(target, batch)
        now = self.clock()
        numbers = [event.number for event in batch]
        with self.catalog.transaction() as transaction:
            if failure is None:
                done = DeliveryEnd(state=DeliveryState.DELIVERED, at=now)
                notifications.end(transaction, target, numbers, done)
                notifications.record_success(transaction, target, at=now)
                return True
            self._tell(target, failure)
            # A receiver may answer anything.
            why = made_usable(failure.why)
            given_up = DeliveryEnd(state=DeliveryState.GIVEN_UP, at=now, error=why)
            if failure.final:
                notifications.end(transaction, target, numbers, given_up)
                return True
            waiting = notifications.waiting(transaction, target, limit=_EXPIRED_MAX)
            old = [
                each.number
                for each in events.by_numbers(transaction, target.project_id, waiting)
                if is_expired(each, now)
            ]
            notifications.end(transaction, target, old, given_up)
            failures = notifications.failures(transaction, target)
            notifications.record_failure(
                transaction, target, why, next_at=now + delay_after(failures + 1)
            )
        return False

    def _tell(self, target: Target, failure: SendFailure) -> None:
        log.warning(
            "an event was not sent",
            extra={
                "notification": target.name,
                "project_id": target.project_id,
                "why": failure.why,
            },
        )


class Notifier:
    """Threads that serve targets whose turn has come."""

    def __init__(self, deliveries: Deliveries, *, look_s: float = _LOOK_S) -> None:
        self._deliveries = deliveries
        self._look_s = look_s
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._free = threading.Semaphore(_SENDERS)
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="notifier")
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)

    def start(self) -> None:
        """Begins to send; returns at once."""
        self._thread.start()

    def stop(self) -> bool:
        """Sends no more than what is being sent now, and waits for that; whether it has ended."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        self._senders.shutdown(cancel_futures=True)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Looks at once."""
        self._woken.set()

    def _work(self) -> None:
        begun = False
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                if not begun:
                    self._deliveries.begin()
                    begun = True
                self._look()
            except CatalogFailed as error:
                log.warning("events are not sent for now", extra={"why": str(error)})
            except Exception:  # the top of a thread: the next look tries again
                log.exception("events are not sent for now")
            self._woken.wait(self._look_s)

    def _look(self) -> None:
        """Hands targets to senders that are free: nothing is taken that would have to wait."""
        free = 0
        while free < _SENDERS and self._free.acquire(blocking=False):
            free += 1
        found: list[Target] = []
        try:
            if free:
                found = self._deliveries.due(free)
        finally:
            for _ in range(free - len(found)):
                self._free.release()
        for target in found:
            self._senders.submit(self._serve, target)

    def _serve(self, target: Target) -> None:
        try:
            self._deliveries.serve(target, self._stopping.is_set)
        except CatalogFailed as error:
            log.warning("what was sent is not recorded", extra={"why": str(error)})
        except Exception:  # the top of a thread: the target's claim ends, and it is tried again
            log.exception("a target was not served", extra={"notification": target.name})
        finally:
            self._free.release()
            self._woken.set()
