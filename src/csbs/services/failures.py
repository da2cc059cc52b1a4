"""Who guesses passwords has to wait."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from csbs.domain.clock import Monotonic
from csbs.domain.tenancy import TooManyFailures


@dataclass(slots=True)
class _Failures:
    count: int
    began_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLimit:
    """At most `count_max` failures of one address with one name in `window_s`.

    By address and name: who guesses somebody's password does not lock him out elsewhere.
    Kept in memory, for `names_max` of them; the longest silent ones are forgotten.
    """

    monotonic: Monotonic
    count_max: int = 10
    window_s: float = 60.0
    names_max: int = 10_000
    _failures: OrderedDict[tuple[str, str], _Failures] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, address: str, name: str) -> None:
        """Raises `TooManyFailures` while nobody may try."""
        with self._lock:
            known = self._failures.get((address, name))
            if known is None:
                return
            left_s = known.began_at_s + self.window_s - self.monotonic()
            if left_s > 0 and known.count >= self.count_max:
                raise TooManyFailures(address, int(left_s) + 1)

    def failed(self, address: str, name: str) -> None:
        """Counts one."""
        with self._lock:
            now_s = self.monotonic()
            known = self._failures.pop((address, name), None)
            if known is None or known.began_at_s + self.window_s <= now_s:
                known = _Failures(0, now_s)
            known.count += 1
            self._failures[address, name] = known
            while len(self._failures) > self.names_max:
                self._failures.popitem(last=False)

    def succeeded(self, address: str, name: str) -> None:
        """Forgets what was before."""
        with self._lock:
            self._failures.pop((address, name), None)
