"""A store whose use is counted: a decorator for reports, measurements and tests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from csbs.repository.objectstore.around import AroundStore
from csbs.repository.objectstore.base import Bytes, ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """What was asked of a store."""

    #: By method of the port; calls that failed count too.
    calls: Mapping[str, int]
    put_bytes: int
    got_bytes: int
    #: The most calls that were under way at one time.
    in_flight_max: int


class MeteredStore(AroundStore):
    """See `ObjectStore`; `use` says what was asked so far."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._put_bytes = self._got_bytes = 0
        self._in_flight = self._in_flight_max = 0

    @property
    def use(self) -> StoreUse:
        """What was asked so far."""
        with self._lock:
            return StoreUse(
                calls=dict(self._calls),
                put_bytes=self._put_bytes,
                got_bytes=self._got_bytes,
                in_flight_max=self._in_flight_max,
            )

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        super().put(key, parts, use_reserve=use_reserve)
        self._add(put_bytes=sum(len(part) for part in parts))

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        super().replace(key, data)
        self._add(put_bytes=len(data))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        data = super().get(key, offset=offset, size=size)
        self._add(got_bytes=len(data))
        return data

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """See `TailStore.tail`."""
        data, size_bytes = super().tail(key, size)
        self._add(got_bytes=len(data))
        return data, size_bytes

    def _add(self, *, put_bytes: int = 0, got_bytes: int = 0) -> None:
        with self._lock:
            self._put_bytes += put_bytes
            self._got_bytes += got_bytes

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        del key
        with self._lock:
            self._calls[method] += 1
            self._in_flight += 1
            self._in_flight_max = max(self._in_flight_max, self._in_flight)
        try:
            return do()
        finally:
            with self._lock:
                self._in_flight -= 1
