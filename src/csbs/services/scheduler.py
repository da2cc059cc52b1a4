"""The scheduler: a thread that answers due times, for as long as a service runs.

It sleeps until the next one, at most half a minute: so a clock that jumps, and what another process
changed, are noticed soon.  What changes here wakes it.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

from csbs.domain.clock import Clock
from csbs.services.due_runs import DueRuns, SetAside

log = logging.getLogger(__name__)

_WAIT_MAX_S = 30.0
#: What is due still after a look at it is not looked at all the time.
_WAIT_MIN_S = 0.2
#: How often it looks whether what worked on a server has ended, while a run waits for that.
_QUEUED_S = 3.0
#: After a failure of the catalog.
_FAILED_S = 10.0
#: A clock that is corrected by less was not set back.
_BACK_MIN = timedelta(seconds=1)
_STOP_WAIT_S = 10.0


class Scheduler:
    """Starts runs of policies when they are due."""

    def __init__(self, due_runs: DueRuns, clock: Clock) -> None:
        self._due_runs = due_runs
        self._clock = clock
        self._aside = SetAside()
        self._last: datetime | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begins to work; returns at once."""
        self._thread.start()

    def stop(self) -> bool:
        """Ends what it does now, and no more; whether it has, after a while."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Looks at once: a policy was changed."""
        self._woken.set()

    def tick(self) -> float:
        """Answers what is due; returns how many seconds nothing more is to be done.

        Raises `CatalogFailed`; then nothing is lost, and the next call goes on.
        """
        now = self._clock()
        if self._last is None or now < self._last - _BACK_MIN:
            self._due_runs.realign(now)
        self._last = now
        self._due_runs.claim_due(now, self._aside)
        self._due_runs.begin_ready(now, self._aside)
        self._due_runs.advance(now)
        return self._wait_s(now)

    def _wait_s(self, now: datetime) -> float:
        next_at, queued = self._due_runs.next_look(now, self._aside)
        wait_s = _WAIT_MAX_S
        if next_at is not None:
            wait_s = min(wait_s, (next_at - self._clock()).total_seconds())
        if queued:
            wait_s = min(wait_s, _QUEUED_S)
        return max(wait_s, _WAIT_MIN_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                wait_s = self.tick()
            except Exception:  # the top of a thread: the next look tries again
                log.exception("the scheduler failed; it tries again")
                wait_s = _FAILED_S
            self._woken.wait(wait_s)
