"""Checking the small objects that are no manifests: config, owners, key rings, known damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from csbs.repository import damage as damages
from csbs.repository.damage import Damage
from csbs.repository.errors import CorruptObject, ObjectNotFound
from csbs.repository.identity import (
    CONFIG_KEY,
    OWNERS,
    decode_config,
    decode_owner,
    require_owner_of_all,
)
from csbs.repository.key_store import KEY_RINGS, ring_of_key
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.twins import keys_of_either, twin_key
from csbs.repository.verify_report import Findings, VerifyParts

_Decode = Callable[[bytes], object]


def check_text_objects(parts: VerifyParts, found: Findings) -> Damage:
    """Config, owners, key rings, each with its twin, and what is known of damage (returned)."""
    store = parts.store
    for key, decode, is_needed in _twins(parts):
        _check_twins(store, key, decode, found)
        if not is_needed:
            found.put_back.pop(twin_key(key), None)
    try:
        require_owner_of_all(store)
    except CorruptObject as error:
        found.add(error.key, error)
    for key in sorted(each.key for each in store.list(damages.PREFIX)):
        try:
            damages.decode_damage(key, store.get(key))
        except CorruptObject as error:
            found.add(key, error)
            found.record_lost = True
        except ObjectNotFound:  # another verification has put a newer one
            continue
    return damages.known_damage(store)


def _twins(parts: VerifyParts) -> Iterator[tuple[str, _Decode, bool]]:
    """What is there twice, and whether its twin must be: not that of a ring that a newer follows.

    Such rings may be leftovers of a rotation, and are not to be made more of.
    """
    yield CONFIG_KEY, partial(decode_config, parts.name), True
    for key in sorted(keys_of_either(parts.store, OWNERS)):
        yield key, partial(decode_owner, key), True
    rings = sorted(keys_of_either(parts.store, KEY_RINGS))
    newest = {key.rpartition("/")[0]: key for key in rings}.values()
    for key in rings:
        yield key, partial(ring_of_key, key), key in newest


def _check_twins(store: ObjectStore, key: str, decode: _Decode, found: Findings) -> None:
    twin = twin_key(key)
    own, own_lost = _read(store, key, decode)
    other, other_lost = _read(store, twin, decode)
    if own_lost is not None:
        found.add(key, own_lost)
        if other is not None:
            found.put_back[key] = other
    if isinstance(other_lost, CorruptObject):
        found.add(twin, CorruptObject(twin, other_lost.expected, other_lost.found))
    if own is not None and other is None:
        found.put_back[twin] = own  # or it never was there: its writer died
    if own is not None and other is not None and own != other:
        found.add(twin, CorruptObject(twin, f"the bytes of {key}", "others"))


def _read(
    store: ObjectStore, key: str, decode: _Decode
) -> tuple[bytes | None, CorruptObject | ObjectNotFound | None]:
    """The object's bytes if it is whole, else what is wrong with it."""
    try:
        data = store.get(key)
        decode(data)
    except (CorruptObject, ObjectNotFound) as error:
        return None, error
    return data, None
