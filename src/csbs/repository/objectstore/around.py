"""The frame of stores that are put around another one and do something about each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.tail import tail_of

T = TypeVar("T")


class AroundStore:
    """An object store whose every call goes through `_call`; see `ObjectStore`."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        self._call("put", key, lambda: self._inner.put(key, parts, use_reserve=use_reserve))

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        self._call("replace", key, lambda: self._inner.replace(key, data))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        return self._call("get", key, lambda: self._inner.get(key, offset=offset, size=size))

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        return self._call("size", key, lambda: self._inner.size(key))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """See `TailStore.tail`; for `_call` it is a get, as for most stores."""
        return self._call("get", key, lambda: tail_of(self._inner, key, size))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        yield from self._call("list", prefix, lambda: list(self._inner.list(prefix)))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._call("delete", key, lambda: self._inner.delete(key))

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`."""
        self._call("clear_leftovers", "", self._inner.clear_leftovers)

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        raise NotImplementedError
