"""Keeps who does what cannot be undone from doing it by a clock that may be wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from csbs.domain.clock import Clock, Monotonic
from csbs.domain.steady_clock import first_look, next_look

log = logging.getLogger(__name__)


class SteadyClock:
    """For threads that look often."""

    def __init__(self, clock: Clock, monotonic: Monotonic, known_at: datetime | None) -> None:
        """`known_at` is the last instant that is known to have been, before anything begins."""
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._watch = first_look(known_at, clock(), monotonic())
        self._tell(trusted_before=True)

    def is_trusted(self) -> bool:
        """Whether what cannot be undone may be done now."""
        with self._lock:
            before = self._watch.trusted
            self._watch = next_look(self._watch, self._clock(), self._monotonic())
            self._tell(trusted_before=before)
            return self._watch.trusted

    def _tell(self, *, trusted_before: bool) -> None:
        if trusted_before and not self._watch.trusted:
            log.warning(
                "nothing expires and nothing old is forgotten for an hour: the clock was set "
                "forward, or no policy has run for a day, so that nobody can tell whether it is "
                "right"
            )


def while_trusted(
    steady: SteadyClock, action: Callable[[Callable[[], bool]], object]
) -> Callable[[Callable[[], bool]], None]:
    """The action of a round, left out while the clock may be wrong."""

    def act(stopping: Callable[[], bool]) -> None:
        if steady.is_trusted():
            action(stopping)

    return act
