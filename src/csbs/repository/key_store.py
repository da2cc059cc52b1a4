"""Key rings in the store: `keys/<repository id>/<n>`, create-only; the highest number counts."""

from __future__ import annotations

import re

from csbs.repository.errors import CorruptObject, KeyRingChanged, ObjectExists, ObjectNotFound
from csbs.repository.key_ring import KeyRing, decode_ring, encode_ring
from csbs.repository.objectstore.base import ObjectStore

KEY_RINGS = "keys/"
_KEY = re.compile(r"keys/([0-9a-f-]{36})/(\d{8})")

#: A ring may go away between list and get, because a rotation put a newer one: list again.
_TRIES_MAX = 5


def ring_key(repository_id: str, number: int) -> str:
    """The key of this ring."""
    return f"{KEY_RINGS}{repository_id}/{number:08d}"


def current_ring(store: ObjectStore, repository_id: str) -> KeyRing:
    """The ring that counts.  Raises `CorruptObject` if it is damaged or there is none."""
    for _ in range(_TRIES_MAX):
        numbers = _numbers(store, repository_id)
        if not numbers:
            break
        key = ring_key(repository_id, max(numbers))
        try:
            ring = decode_ring(key, store.get(key))
        except ObjectNotFound:
            continue
        if ring_key(ring.repository_id, ring.number) != key:
            raise CorruptObject(key, "the ring of its key", f"ring {ring.number} of another")
        return ring
    raise CorruptObject(f"{KEY_RINGS}{repository_id}/", "the repository's key ring", "none")


def put_ring(store: ObjectStore, name: str, ring: KeyRing) -> None:
    """Makes this ring count.  Raises `KeyRingChanged` (with `name`) if its number is taken."""
    try:
        store.put(ring_key(ring.repository_id, ring.number), [encode_ring(ring)], use_reserve=True)
    except ObjectExists:
        raise KeyRingChanged(name) from None


def drop_rings_before(store: ObjectStore, ring: KeyRing) -> None:
    """Removes older rings: a key that was given up still opens those."""
    for number in _numbers(store, ring.repository_id):
        if number < ring.number:
            store.delete(ring_key(ring.repository_id, number))


def _numbers(store: ObjectStore, repository_id: str) -> list[int]:
    matches = (_KEY.fullmatch(each.key) for each in store.list(f"{KEY_RINGS}{repository_id}/"))
    return sorted(int(match[2]) for match in matches if match)
