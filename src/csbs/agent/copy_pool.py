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
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from csbs.agent.rate_limit import RateLimit
from csbs.blockio.nbd import NbdLimits
from csbs.blockio.priority import lower_own_priority
from csbs.domain.clock import Monotonic, monotonic

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How the disks of a job share the threads that move their bytes, and the host."""

    threads: int = 2
    #: Pieces that are read and not yet written, of all disks.
    in_flight_max: int = 8
    #: Disks that are under way at once: more would keep no more threads busy, and whatever ends a
    #: job early would find more of them half done.
    disks_at_once: int = 4
    limits: NbdLimits = field(default_factory=NbdLimits)
    #: Shared by all disks of a job; None: as fast as it goes.
    rate_limit: RateLimit | None = None
    #: Its threads get less of the host than others do.
    low_priority: bool = False
    monotonic: Monotonic = monotonic

    def pool(self) -> CopyPool:
        """The threads of a job, and their room; to be opened."""
        return CopyPool(
            threads=self.threads, in_flight_max=self.in_flight_max, initializer=self.begin_thread
        )

    def begin_thread(self) -> None:
        """What each thread that moves bytes does first; those that it starts need not."""
        if self.low_priority:
            lower_own_priority()
