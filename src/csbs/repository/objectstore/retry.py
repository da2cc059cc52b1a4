"""A store that is asked again: a decorator for stores that fail in passing, as networks do.

Every call of the port may be repeated (see `ObjectStore.put`), so a lost answer does no harm.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from csbs.domain.clock import Monotonic, Sleep, monotonic, sleep
from csbs.domain.errors import OperationCancelled
from csbs.repository.errors import StoreTimeout, StoreUnavailable
from csbs.repository.objectstore.around import AroundStore
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore

T = TypeVar("T")

log = logging.getLogger(__name__)

#: A wait ends this soon after a cancel.
_WAIT_STEP_S = 0.2
_HASHES = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a call is tried for; waits double from `wait_min_s` up to `wait_max_s`."""

    #: No attempt begins after so long.
    timeout_s: float
    attempts_max: int = 10
    wait_min_s: float = 0.25
    wait_max_s: float = 15.0
    cancelled: Callable[[], bool]
    monotonic: Monotonic = monotonic
    sleep: Sleep = sleep

    def wait_s(self, attempt: int, key: str) -> float:
        """The wait behind the attempt of this number, from 1 on.

        Between half and all of what doubling gives, by the key: threads and hosts that failed
        together do not come back together.
        """
        whole_s = min(self.wait_min_s * 2.0 ** (attempt - 1), self.wait_max_s)
        return whole_s * (1 + zlib.crc32(key.encode()) / _HASHES) / 2


class RetryingStore(AroundStore):
    """See `ObjectStore`; a call is repeated while the store is unavailable, all else passes.

    Raises what the last attempt raised, or `OperationCancelled`.
    """

    def __init__(self, inner: ObjectStore, policy: RetryPolicy) -> None:
        super().__init__(inner)
        self._policy = policy

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; one that breaks off is begun anew, what was given is left out."""
        given: set[str] = set()
        listing = self._inner.list(prefix)

        def next_one() -> ObjectInfo | None:
            return next(listing, None)

        def again() -> None:
            nonlocal listing
            listing = (each for each in self._inner.list(prefix) if each.key not in given)

        while (found := self._call("list", prefix, next_one, again)) is not None:
            given.add(found.key)
            yield found

    def _call(
        self, method: str, key: str, do: Callable[[], T], again: Callable[[], None] | None = None
    ) -> T:
        policy = self._policy
        deadline_s = policy.monotonic() + policy.timeout_s
        attempt = 1
        while True:
            try:
                return do()
            except (StoreUnavailable, StoreTimeout) as error:
                wait_s = policy.wait_s(attempt, key)
                if attempt == policy.attempts_max or policy.monotonic() + wait_s >= deadline_s:
                    raise
                log.warning(
                    "the store failed, and is asked again",
                    extra={"call": method, "key": key, "attempt": attempt, "why": str(error)},
                )
            self._wait(wait_s, f"the {method} of {key}")
            if again is not None:
                again()
            attempt += 1

    def _wait(self, wait_s: float, what: str) -> None:
        end_s = self._policy.monotonic() + wait_s
        while (left_s := end_s - self._policy.monotonic()) > 0:
            if self._policy.cancelled():
                raise OperationCancelled(what)
            self._policy.sleep(min(left_s, _WAIT_STEP_S))
