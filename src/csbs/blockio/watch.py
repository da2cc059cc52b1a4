"""Time limits and cancelling for calls that have neither.

A synchronous call of libnbd reads 2.5 GB/s and waits for ever; libnbd's own polling interface has
limits and was measured at a fifth of the speed, because it takes the interpreter's lock for each
piece that the socket holds.  So calls are synchronous, and one thread watches all of them: it
shuts down the socket below a call that is late or no longer wanted, and the call fails at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import Self

from csbs.domain.clock import Monotonic

#: How late a limit or a cancel may be noticed.
_LOOK_INTERVAL_S = 0.2


class Ended(Enum):
    """Why the watch ended a call."""

    LATE = "late"
    UNWANTED = "unwanted"


class WatchedSocket:
    """One connection; one call at a time is made on it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._ended: Ended | None = None

    @property
    def ended(self) -> Ended | None:
        """Why the connection was shut down; None where the watch did not do it."""
        return self._ended

    def begin(self, deadline: float) -> None:
        """A call begins, which must have ended at `deadline`."""
        with self._lock:
            self._deadline = deadline

    def end(self) -> None:
        """The call has ended."""
        with self._lock:
            self._deadline = None

    def look(self, now: float, *, unwanted: bool) -> None:
        """Shuts the connection down if its call is late or unwanted."""
        with self._lock:
            if self._deadline is None or self._ended is not None:
                return
            if unwanted:
                self._ended = Ended.UNWANTED
            elif now >= self._deadline:
                self._ended = Ended.LATE
            else:
                return
            with suppress(OSError):  # the server was faster
                self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the descriptor back."""
        with self._lock:
            self._connection.close()
            self._deadline = None


class Watch:
    """Watches the calls of one copy, between `with` and its end.

    `cancelled` is asked by the watch's thread and by callers, so it must be safe in any thread.
    """

    def __init__(self, *, cancelled: Callable[[], bool], monotonic: Monotonic) -> None:
        self._cancelled = cancelled
        self._monotonic = monotonic
        self._interrupted = threading.Event()
        self._closed = threading.Event()
        self._sockets: set[WatchedSocket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="nbd-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()

    def interrupt(self) -> None:
        """Ends all calls and lets no new one begin: the copy has failed elsewhere."""
        self._interrupted.set()

    def unwanted(self) -> bool:
        """Whether calls are of no use any more."""
        return self._interrupted.is_set() or self._cancelled()

    def now(self) -> float:
        """Seconds of the clock that limits are measured by."""
        return self._monotonic()

    @contextmanager
    def over(self, connection: socket.socket) -> Iterator[WatchedSocket]:
        """Watches a connection, and closes this descriptor of it at the end."""
        watched = WatchedSocket(connection)
        with self._lock:
            self._sockets.add(watched)
        try:
            yield watched
        finally:
            with self._lock:
                self._sockets.discard(watched)
            watched.close()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_INTERVAL_S):
            now, unwanted = self.now(), self.unwanted()
            with self._lock:
                watched = list(self._sockets)
            for each in watched:
                each.look(now, unwanted=unwanted)
