"""Faults by script: a store that fails, dies or tells what was asked of it.

faults = Faults().on("put", StoreUnavailable("packs/ab", "reset"), times=2)
store = FaultyStore(MemoryStore(), faults)
...
faults.assert_all_fired()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from csbs.repository.errors import StoreUnavailable
from csbs.repository.objectstore import AroundStore, ObjectStore

T = TypeVar("T")


class Crash(BaseException):
    """The process dies here.  Not an `Exception`: nothing may handle it."""


@dataclass(slots=True)
class _Fault:
    method: str
    error: BaseException
    key_prefix: str
    times: int
    after_effect: bool


class Faults:
    """What is to go wrong, and whether it did."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def on(
        self,
        method: str,
        error: BaseException,
        *,
        key_prefix: str = "",
        times: int = 1,
        after_effect: bool = False,
    ) -> Faults:
        """The next `times` calls of `method` with such a key raise `error`.

        `after_effect`: the call has its effect first, as if only the answer were lost.
        """
        self._faults.append(_Fault(method, error, key_prefix, times, after_effect))
        return self

    def take(self, method: str, key: str) -> tuple[BaseException, bool] | None:
        """The fault of this call, if there is one, and whether it comes after the effect."""
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.method == method and key.startswith(fault.key_prefix):
                    fault.times -= 1
                    return fault.error, fault.after_effect
        return None

    def assert_all_fired(self) -> None:
        """Asserts that every fault was met as often as it was scripted."""
        left = [(fault.method, fault.key_prefix, fault.times) for fault in self._faults]
        assert not any(times for _, _, times in left), f"never met: {left}"


class FaultyStore(AroundStore):
    """Raises the scripted faults; all else passes through."""

    def __init__(self, inner: ObjectStore, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        fault = self._faults.take(method, key)
        if fault is None:
            return do()
        error, after_effect = fault
        if after_effect:
            do()
        raise error


#: Calls that send bytes, so they can end in the middle.
WRITES = frozenset({"put", "replace"})


class Death(StrEnum):
    """Who dies at a call, and for how long."""

    #: For good, and nothing may handle it.
    PROCESS = "process"
    #: For good; the process is told so by this call and each later one.
    STORE = "store"
    #: The process is told that this one call failed; later ones succeed.
    CALL = "call"


class CrashingStore(AroundStore):
    """Dies at the n-th call, before or after its effect; a dead process does nothing any more."""

    def __init__(
        self,
        inner: ObjectStore,
        *,
        crash_at: int,
        after_effect: bool,
        death: Death = Death.PROCESS,
        writes_only: bool = False,
    ) -> None:
        """`crash_at` counts from 0, calls or puts and replacements; with fewer it is as `inner`."""
        super().__init__(inner)
        self._writes_only = writes_only
        self._calls_left = crash_at
        self._after_effect = after_effect
        self._death = death
        self._lock = threading.Lock()
        self.crashed = False

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        with self._lock:
            if self.crashed and self._death is not Death.CALL:
                raise self._error(method, key)
            if self._writes_only and method not in WRITES:
                return do()
            self._calls_left -= 1
            if self._calls_left != -1:
                return do()
            self.crashed = True
            if self._after_effect:
                do()
            raise self._error(method, key)

    def _error(self, method: str, key: str) -> BaseException:
        if self._death is Death.PROCESS:
            return Crash()
        return StoreUnavailable("the dying store", f"{method} {key}")


class BlockingStore(AroundStore):
    """Hangs, as a dead NFS mount does, in calls of `method` (or "any") with such a key.

    From `hold` on, until `release`.  `reached` is set when a call hangs.
    """

    def __init__(self, inner: ObjectStore, method: str, *, key_prefix: str = "") -> None:
        super().__init__(inner)
        self._method = method
        self._key_prefix = key_prefix
        self._free = threading.Event()
        self._free.set()
        self.reached = threading.Event()

    def hold(self) -> None:
        """From now on calls hang."""
        self._free.clear()

    def release(self) -> None:
        """Lets go of all calls."""
        self._free.set()

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        if self._method in {method, "any"} and key.startswith(self._key_prefix):
            if not self._free.is_set():
                self.reached.set()
            self._free.wait()
        return do()


class RecordingStore(AroundStore):
    """Remembers the calls that succeeded: (method, key), in the order of their ends."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.calls: list[tuple[str, str]] = []

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        result = do()
        self.calls.append((method, key))
        return result
