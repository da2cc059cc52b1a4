"""Key rings in the store: `keys/<repository id>/<n>`, create-only; the highest number counts."""

from __future__ import annotations

import re
from functools import partial

from csbs.repository.errors import CorruptObject, KeyRingChanged, ObjectExists, ObjectNotFound
from csbs.repository.key_ring import KeyRing, decode_ring, encode_ring
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.twins import delete_both, get_either, keys_of_either, put_twice

KEY_RINGS = "keys/"
_KEY = re.compile(r"keys/([0-9a-f-]{36})/(\d{8})")

#: A ring may go away between list and get, because a rotation put a newer one: list again.
_TRIES_MAX = 5


def ring_key(repository_id: str, number: int) -> str:
    """The key of this ring."""
    return f"{KEY_RINGS}{repository_id}/{number:08d}"


def current_ring(store: ObjectStore, repository_id: str) -> KeyRing:
    """The ring that counts, or its twin.

    Raises `CorruptObject` if both are damaged or there is none.
    """
    for _ in range(_TRIES_MAX):
        numbers = _numbers(store, repository_id)
        if not numbers:
            break
        key = ring_key(repository_id, max(numbers))
        try:
            return get_either(store, key, partial(ring_of_key, key))
        except ObjectNotFound:
            continue
    raise CorruptObject(f"{KEY_RINGS}{repository_id}/", "the repository's key ring", "none")


def ring_of_key(key: str, data: bytes) -> KeyRing:
    """The ring in `data`, which is that of this key.  Raises like `decode_ring`."""
    ring = decode_ring(key, data)
    if ring_key(ring.repository_id, ring.number) != key:
        raise CorruptObject(key, "the ring of its key", f"ring {ring.number} of another")
    return ring


def put_ring(store: ObjectStore, name: str, ring: KeyRing) -> None:
    """Makes this ring count.  Raises `KeyRingChanged` (with `name`) if its number is taken."""
    try:
        key = ring_key(ring.repository_id, ring.number)
        put_twice(store, key, encode_ring(ring), use_reserve=True)
    except ObjectExists:
        raise KeyRingChanged(name) from None


def drop_rings_before(store: ObjectStore, ring: KeyRing) -> None:
    """Removes older rings: a key that was given up still opens those."""
    for number in _numbers(store, ring.repository_id):
        if number < ring.number:
            delete_both(store, ring_key(ring.repository_id, number))


def _numbers(store: ObjectStore, repository_id: str) -> list[int]:
    keys = keys_of_either(store, f"{KEY_RINGS}{repository_id}/")
    matches = (_KEY.fullmatch(key) for key in keys)
    return sorted(int(match[2]) for match in matches if match)
