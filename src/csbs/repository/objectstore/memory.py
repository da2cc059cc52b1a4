"""A store in memory: for tests, and for trying the library."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from csbs.repository.errors import ObjectNotFound
from csbs.repository.objectstore.base import Bytes, ObjectInfo, checked_key, require_same


class MemoryStore:
    """Keeps objects in a dictionary; a real adapter, with the whole contract but durability."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        del use_reserve  # memory has none
        data = b"".join(parts)
        with self._lock:
            created = self._objects.setdefault(checked_key(key), data) is data
        if not created:
            require_same(self, key, [data])

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        with self._lock:
            self._objects[checked_key(key)] = bytes(data)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        data = self._find(key)
        return data[offset:] if size is None else data[offset : offset + size]

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        return len(self._find(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with self._lock:
            found = [(k, len(v)) for k, v in self._objects.items() if k.startswith(prefix)]
        for key, size_bytes in found:
            yield ObjectInfo(key, size_bytes)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._lock:
            self._objects.pop(checked_key(key), None)

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`; there are none."""

    def _find(self, key: str) -> bytes:
        with self._lock:
            data = self._objects.get(checked_key(key))
        if data is None:
            raise ObjectNotFound(key)
        return data
