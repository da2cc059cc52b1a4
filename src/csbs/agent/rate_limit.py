"""A limit on how fast a job reads, over all its threads and disks."""

from __future__ import annotations

import threading
from collections.abc import Callable

from csbs.domain.clock import Monotonic, Sleep, monotonic, sleep
from csbs.domain.errors import OperationCancelled

#: A wait is over this soon after a cancel.
_WAIT_STEP_S = 0.2


class RateLimit:
    """Hands out time: each taker waits until what was taken before it is paid for."""

    def __init__(
        self, bytes_per_s: int, *, monotonic: Monotonic = monotonic, sleep: Sleep = sleep
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at_s = monotonic()

    def take(self, size_bytes: int, cancelled: Callable[[], bool]) -> None:
        """Waits until so many bytes may be read.  Raises `OperationCancelled`.

        Time that nobody used is not saved up: a job that waited for its store does not make up
        for it by a burst.
        """
        with self._lock:
            begin_s = max(self._free_at_s, self._monotonic())
            self._free_at_s = begin_s + size_bytes / self._bytes_per_s
        while (left_s := begin_s - self._monotonic()) > 0:
            if cancelled():
                raise OperationCancelled("the copy")
            self._sleep(min(left_s, _WAIT_STEP_S))
