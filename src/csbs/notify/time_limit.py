"""A limit of time for all that is said over a connection.

The time-out of a socket begins anew with each byte: a receiver that sends one now and then would
keep its caller for ever.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Limit:
    """Of one talk, for the connections that it is told of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twins: list[socket.socket] = []
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the connections were ended by it."""
        return self._is_over

    def watch(self, connected: socket.socket) -> None:
        """Ends this connection too when the time is over; at once if it is."""
        twin = connected.dup()  # wrapping it in TLS takes the socket itself away
        with self._lock:
            self._twins.append(twin)
            if self._is_over:
                _end(twin)

    def _end_all(self) -> None:
        with self._lock:
            self._is_over = True
            for twin in self._twins:
                _end(twin)

    def _close(self) -> None:
        for twin in self._twins:
            twin.close()


@contextmanager
def limited(time_max_s: float) -> Iterator[Limit]:
    """The body may take so long; then its connections end.

    What it raises because of that is a `TimeoutError`.
    """
    limit = Limit()
    timer = threading.Timer(time_max_s, limit._end_all)  # noqa: SLF001  of this module
    timer.daemon = True
    timer.start()
    try:
        yield limit
    except Exception as error:
        if limit.is_over:
            raise TimeoutError(f"no answer within {time_max_s:g} s") from error
        raise
    finally:
        timer.cancel()
        timer.join()
        limit._close()  # noqa: SLF001  likewise


def _end(twin: socket.socket) -> None:
    with suppress(OSError):  # the other end was faster
        twin.shutdown(socket.SHUT_RDWR)
