"""The threads that copy, and the room for what they hold: one bound for all disks of a job.

    disk a ──► piece ──┐            ┌──► in order, to a's thread
                       ├─► room ──► threads
    disk b ──► piece ──┘            └──► in order, to b's thread

A piece takes room until its disk's thread has dealt with its result.  A disk with nothing in the
room goes before one that has something there, so a large disk never keeps a small one waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class CopyPool:
    """`threads` threads and room for `in_flight_max` pieces; open between `with` and its end."""

    def __init__(
        self, *, threads: int, in_flight_max: int, initializer: Callable[[], None] | None = None
    ) -> None:
        """Each thread calls `initializer` first."""
        self._threads = ThreadPoolExecutor(threads, "copy-piece", initializer)
        self._room = _Room(in_flight_max)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> Generator[B, None, None]:
        """Results in order; several threads may map at once.

        The first error, in the order of the items, ends it.  However it ends (close it), calls
        that have not begun are dropped, and those that have are waited for.
        """
        pending: deque[Future[B]] = deque()
        try:
            for item in items:
                while not self._room.take(wait=not pending):
                    yield from self._oldest(pending)
                pending.append(self._threads.submit(function, item))
            while pending:
                yield from self._oldest(pending)
        finally:
            for future in pending:
                future.cancel()
            wait(pending)
            for _ in pending:
                self._room.give()

    def _oldest(self, pending: deque[Future[B]]) -> Iterator[B]:
        """Its result; the room is free again when the taker comes for the next one."""
        try:
            yield pending[0].result()
        finally:
            pending.popleft()
            self._room.give()


class _Room:
    """Counts what is in flight."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting = 0
        self._freed = threading.Condition()

    def take(self, *, wait: bool) -> bool:
        """Takes a place; whoever can do something else instead of waiting lets others go first."""
        with self._freed:
            if not wait and (self._free == 0 or self._waiting > 0):
                return False
            self._waiting += 1
            try:
                self._freed.wait_for(lambda: self._free > 0)
            finally:
                self._waiting -= 1
            self._free -= 1
            return True

    def give(self) -> None:
        """Gives a place back."""
        with self._freed:
            self._free += 1
            self._freed.notify()
