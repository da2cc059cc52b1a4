"""A limit of time for all that is said on a connection, whatever the other end does."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_after(connected: socket.socket, time_max_s: float) -> Iterator[None]:
    """Ends the connection at the limit: one byte now and then would reset a time-out for ever.

    What the body raises because of that becomes `TimeoutError`.
    """
    twin = connected.dup()  # wrapping it in TLS takes the socket itself away

    was_cut = threading.Event()

    def cut() -> None:
        was_cut.set()
        with suppress(OSError):  # the other end was faster
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(time_max_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    # An error of SMTP is one of the system too.
    except (OSError, http.client.HTTPException) as error:
        if was_cut.is_set():
            raise TimeoutError(f"no answer within {time_max_s:g} s") from error
        raise
    finally:
        timer.cancel()
        timer.join()
        twin.close()
