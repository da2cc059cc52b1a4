"""The small objects without which nothing of a repository can be read are there twice.

    config                      twins/config
    owners/<n>                  twins/owners/<n>
    keys/<repository id>/<n>    twins/keys/<repository id>/<n>

The object is put first, create-only, and decides; then its twin, of the same bytes.  Whoever finds
the object gone or damaged reads the twin, and a verification puts back what is lost of either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from csbs.repository.errors import CorruptObject, ObjectNotFound
from csbs.repository.objectstore.base import ObjectStore

log = logging.getLogger(__name__)

TWINS = "twins/"

T = TypeVar("T")


def twin_key(key: str) -> str:
    """The key of the object's twin."""
    return f"{TWINS}{key}"


def put_twice(store: ObjectStore, key: str, data: bytes, *, use_reserve: bool = False) -> None:
    """Creates the object, then its twin.

    May be repeated; raises `ObjectExists` where another object has the key.
    """
    store.put(key, [data], use_reserve=use_reserve)
    store.put(twin_key(key), [data], use_reserve=use_reserve)


def get_either(store: ObjectStore, key: str, decode: Callable[[bytes], T]) -> T:
    """What `decode` makes of the object or, where that is gone or damaged, of its twin.

    Raises what reading the object raised where the twin is no better: `ObjectNotFound`,
    `CorruptObject`.
    """
    try:
        return decode(store.get(key))
    except (ObjectNotFound, CorruptObject) as error:
        lost = error
    try:
        found = decode(store.get(twin_key(key)))
    except (ObjectNotFound, CorruptObject):
        raise lost from None
    log.warning(
        "an object is lost, its twin was read: `csbs repository verify` puts it back",
        extra={"why": str(lost)},
    )
    return found


def keys_of_either(store: ObjectStore, prefix: str) -> set[str]:
    """Keys below `prefix` of all objects that are there, or whose twin is."""
    keys = {each.key for each in store.list(prefix)}
    return keys | {each.key.removeprefix(TWINS) for each in store.list(twin_key(prefix))}


def delete_both(store: ObjectStore, key: str) -> None:
    """Removes the twin, then the object: so a twin is never all that is left."""
    store.delete(twin_key(key))
    store.delete(key)
