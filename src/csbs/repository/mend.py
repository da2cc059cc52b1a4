"""Puts back small objects that were found damaged, where what was in them is known.

A twin tells what its object was, and the key of a void or tombstone says all that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from csbs.repository.errors import ObjectNotFound
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.objectstore.base import ObjectStore


def mend(
    store: ObjectStore,
    manifests: ManifestStore,
    put_back: Mapping[str, bytes],
    damaged: Iterable[str],
    found_at: datetime,
) -> Iterator[str]:
    """Puts back what it can, and yields the keys of what was damaged of that.

    `put_back` has bytes by key, `damaged` all keys that a verification named.  The caller is the
    owner.  Raises what the store raises.
    """
    names = sorted(set(damaged))
    for key, data in sorted(put_back.items()):
        _put(store, key, data)
        if key in names:
            yield key
    for key in names:
        if key not in put_back and manifests.renew(key, found_at):
            yield key


def _put(store: ObjectStore, key: str, data: bytes) -> None:
    try:
        store.size(key)
    except ObjectNotFound:  # perhaps its folder is gone too
        store.put(key, [data], use_reserve=True)
    else:
        store.replace(key, data)
