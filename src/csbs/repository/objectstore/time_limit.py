"""A store whose calls end: a decorator that gives each of them a time limit.

A folder on a dead NFS mount, for one, answers nothing and raises nothing.  So each call is made by
a thread of its own, and given up when its limit is over.  The thread cannot be ended: it is left
behind, one of a bounded number, and what it was asked may still be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import OperationCancelled
from csbs.repository.errors import StoreTimeout
from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.tail import tail_of

T = TypeVar("T")

#: Calls at once, those that hang among them; more than all threads of one backup or restore make.
CALLS_MAX = 64
#: A store that hangs is not given the whole limit again by each call that follows.
_SUSPECT_LIMIT_S = 10.0
#: Somebody who cancels is not kept waiting: twice this (a call, and the fence) is bearable.
_CANCELLED_LIMIT_S = 1.5
_LOOK_INTERVAL_S = 0.2
#: A listing is fetched in parts, so it needs neither much memory nor all its time in one call.
_LISTED_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """How long a call may take; much less once `cancelled` says so (any thread may ask it)."""

    timeout_s: float
    cancelled: Callable[[], bool]
    monotonic: Monotonic = monotonic


class TimeLimitedStore:
    """See `ObjectStore`; its calls end in time.

    Every method may raise `StoreTimeout` or, if cancelled meanwhile, `OperationCancelled`: the call
    may be carried out all the same then.
    """

    def __init__(self, inner: ObjectStore, limit: TimeLimit, *, name: str) -> None:
        """`name` is for errors."""
        self._inner = inner
        self._limit = limit
        self._name = name
        self._slots = threading.BoundedSemaphore(CALLS_MAX)
        self._hanging: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        self.call("put", key, lambda: self._inner.put(key, parts, use_reserve=use_reserve))

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        self.call("replace", key, lambda: self._inner.replace(key, data))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        return self.call("get", key, lambda: self._inner.get(key, offset=offset, size=size))

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        return self.call("size", key, lambda: self._inner.size(key))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """See `TailStore.tail`."""
        return self.call("get", key, lambda: tail_of(self._inner, key, size))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        listing = self._inner.list(prefix)
        while part := self.call("list", prefix, lambda: [*islice(listing, _LISTED_MAX)]):
            yield from part

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self.call("delete", key, lambda: self._inner.delete(key))

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`."""
        self.call("clear leftovers", "", self._inner.clear_leftovers)

    def call(self, doing: str, key: str, do: Callable[[], T]) -> T:
        """What `do` returns or raises; for calls to this store beyond the port, too."""
        limit_s = min(self._limit.timeout_s, _SUSPECT_LIMIT_S if self._hangs() else float("inf"))
        was_cancelled = self._limit.cancelled()
        if was_cancelled:
            limit_s = min(limit_s, _CANCELLED_LIMIT_S)
        if not self._slots.acquire(timeout=limit_s):
            raise StoreTimeout(self._name, doing, key, limit_s)
        future: Future[T] = Future()
        thread = threading.Thread(
            target=self._work, args=(future, do), name=f"store-{doing}", daemon=True
        )
        thread.start()
        if self._ended(thread, limit_s, was_cancelled=was_cancelled):
            return future.result()
        with self._lock:
            self._hanging.add(thread)
        if not was_cancelled and self._limit.cancelled():
            raise OperationCancelled(f"the {doing} of {key} at {self._name}")
        raise StoreTimeout(self._name, doing, key, limit_s)

    def _ended(self, thread: threading.Thread, limit_s: float, *, was_cancelled: bool) -> bool:
        """Waits for the call; whether it ended before its limit, or soon after a cancel."""
        now = self._limit.monotonic()
        deadline = now + limit_s
        hurried = was_cancelled
        while True:
            thread.join(min(_LOOK_INTERVAL_S, deadline - now))
            if not thread.is_alive():
                return True
            now = self._limit.monotonic()
            if not hurried and self._limit.cancelled():
                hurried = True
                deadline = min(deadline, now + _CANCELLED_LIMIT_S)
            if now >= deadline:
                return False

    def _hangs(self) -> bool:
        with self._lock:
            self._hanging = {thread for thread in self._hanging if thread.is_alive()}
            return bool(self._hanging)

    def _work(self, future: Future[T], do: Callable[[], T]) -> None:
        try:
            future.set_result(do())
        except BaseException as error:  # noqa: BLE001  the end of a thread: its caller raises it
            future.set_exception(error)
        finally:
            self._slots.release()
