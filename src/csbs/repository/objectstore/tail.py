"""The end of an object, by one request where the store can do that.

A pack is read from its end, and its size is checked.  Over a network a request costs more than the
bytes, so a store may have a `tail`; for all others it is made of `size` and `get`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from csbs.repository.objectstore.base import ObjectStore


@runtime_checkable
class TailStore(Protocol):
    """A store that knows the end of an object without being told its size."""

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """The last `size` bytes (all, if there are fewer), and the size of the whole object."""


def tail_of(store: ObjectStore, key: str, size: int) -> tuple[bytes, int]:
    """See `TailStore.tail`; of any store.  Raises what `get` raises."""
    if isinstance(store, TailStore):
        return store.tail(key, size)
    size_bytes = store.size(key)
    return store.get(key, offset=max(0, size_bytes - size)), size_bytes
