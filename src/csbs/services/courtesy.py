"""How a collection that began by itself gives way to whoever asks for the repository."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: It stops between two calls of the store, long before that.
GIVE_WAY_S = 60.0
_LOOK_INTERVAL_S = 0.1


class Courtesy:
    """Of one repository and process; may be used by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Set as soon as somebody asks.
        self.asked = threading.Event()
        self._ended = threading.Event()
        self._ended.set()

    @property
    def is_working(self) -> bool:
        """Whether somebody works who gives way."""
        return not self._ended.is_set()

    @contextmanager
    def working(self) -> Iterator[Callable[[], bool]]:
        """For who gives way; yields whether somebody asks."""
        asked, ended = threading.Event(), threading.Event()
        with self._lock:
            self.asked, self._ended = asked, ended
        try:
            yield asked.is_set
        finally:
            ended.set()

    def ask(self, cancelled: Callable[[], bool], *, wait_s: float = GIVE_WAY_S) -> bool:
        """Asks, and waits for it; False: nobody is there who gives way, or it takes too long."""
        with self._lock:
            asked, ended = self.asked, self._ended
        if ended.is_set():
            return False
        asked.set()
        for _ in range(round(wait_s / _LOOK_INTERVAL_S)):
            if ended.wait(_LOOK_INTERVAL_S):
                return True
            if cancelled():
                return False
        return False
