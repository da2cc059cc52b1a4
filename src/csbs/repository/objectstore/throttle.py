"""A store that is used slowly: a decorator that waits for leave to move bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from csbs.repository.objectstore.around import AroundStore
from csbs.repository.objectstore.base import Bytes, ObjectStore

T = TypeVar("T")


class ThrottledStore(AroundStore):
    """See `ObjectStore`; `take` is called with the number of bytes that are sent or were got.

    It waits as long as it likes: put this around a `TimeLimitedStore`, never into one.
    """

    def __init__(self, inner: ObjectStore, take: Callable[[int], None]) -> None:
        super().__init__(inner)
        self._take = take

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        self._take(sum(len(part) for part in parts))
        super().put(key, parts, use_reserve=use_reserve)

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        self._take(len(data))
        super().replace(key, data)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        data = super().get(key, offset=offset, size=size)
        self._take(len(data))
        return data

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """See `TailStore.tail`."""
        data, size_bytes = super().tail(key, size)
        self._take(len(data))
        return data, size_bytes

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        del method, key
        return do()
