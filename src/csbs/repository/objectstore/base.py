"""The port to an object store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from csbs.repository.errors import InvalidKey, ObjectExists

#: Up to this size a repeated put is compared whole; above it, length and the last bytes decide:
#: every large object of ours ends with a check of all that goes before.
COMPARE_WHOLE_MAX = 1024 * 1024
COMPARE_TAIL_SIZE = 4096

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_KEY_SIZE_MAX = 512

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One entry of a listing."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """Write-once objects, named by key.

    An object is either wholly visible or not visible at all, to `get`, `size` and `list` alike,
    also after a crash; once `put` has returned it is durable.  `ObjectNotFound`, `ObjectExists`,
    `StoreFull`, `StoreDenied` and `CorruptObject` (bytes of this object are lost) are final;
    `StoreUnavailable` and `StoreTimeout` may be tried again, and that call may have had its
    effect.  Keys are checked (`InvalidKey`).  All methods may be called from several threads.
    """

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """Creates the object from `parts`, one after another.

        If the key is taken: the same bytes (see `require_same`) are success, since the answer to
        an earlier put may have been lost; others raise `ObjectExists`.  `use_reserve` may use
        space that is kept for deletion and collection.
        """

    def replace(self, key: str, data: bytes) -> None:
        """Overwrites the object in one step: a manifest by a void, or what lost its bytes.

        May use the reserve.
        """

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """The bytes of the range; fewer where the object ends before."""

    def size(self, key: str) -> int:
        """Size of the object in bytes."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in no promised order."""

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is fine."""

    def clear_leftovers(self) -> None:
        """Removes what killed writers left, and renews the reserve; no writer may be at work."""


def is_key(key: str) -> bool:
    """Whether an object of ours may have this key."""
    return len(key) <= _KEY_SIZE_MAX and _KEY.fullmatch(key) is not None


def checked_key(key: str) -> str:
    """`key`, if it is one; else raises `InvalidKey`."""
    if not is_key(key):
        raise InvalidKey(key)
    return key


def require_same(store: ObjectStore, key: str, parts: Sequence[Bytes]) -> None:
    """Raises `ObjectExists` unless the object under `key` is the one that is being put."""
    size_bytes = sum(len(part) for part in parts)
    if store.size(key) != size_bytes:
        raise ObjectExists(key)
    whole = size_bytes <= COMPARE_WHOLE_MAX
    wanted = b"".join(parts) if whole else _tail(parts)
    if store.get(key, offset=size_bytes - len(wanted)) != wanted:
        raise ObjectExists(key)


def _tail(parts: Sequence[Bytes]) -> bytes:
    tail = b""
    for part in reversed(parts):
        tail = bytes(part[-COMPARE_TAIL_SIZE:]) + tail
        if len(tail) >= COMPARE_TAIL_SIZE:
            break
    return tail[-COMPARE_TAIL_SIZE:]
