"""Rotation of keys: each is one new key ring, put create-only, so it happened or it did not.

    region     1  the new key joins the old ones in its file  either ring can be opened
               2  the ring, wrapped anew                      the commit
               3  older rings, which the old key opens, leave the store
    data       the ring with one more key: packs that are begun from then on use it
    recovery   as region; the new key waits in a file until it is shown

An old region key stays in its file: a copy of the store, or another repository, may need it, and
here it opens nothing any more.  A repository that is open keeps the keys it has: what was rotated
holds for the next one.
"""

from __future__ import annotations

from enum import StrEnum

from csbs.repository.aead import KEY_SIZE
from csbs.repository.key_files import KeyFiles
from csbs.repository.key_ring import (
    KeyRing,
    KeySource,
    OpenRing,
    Wraps,
    with_data_key,
    with_recovery,
    wrapped_ring,
)
from csbs.repository.key_store import drop_rings_before, put_ring
from csbs.repository.key_text import key_id
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.unlock import open_ring, read_key_ring, region_wrap, wrap_for
from csbs.repository.wrapping import RecoveryUnwrap


class Rotation(StrEnum):
    """Which key is replaced by a new one."""

    REGION = "region"
    DATA = "data"
    RECOVERY = "recovery"


class KeyRotation:
    """Rotates the keys of one repository; `name` is for errors."""

    def __init__(self, store: ObjectStore, name: str, files: KeyFiles, source: KeySource) -> None:
        self._store = store
        self._name = name
        self._files = files
        self._source = source

    def rotate(self, what: Rotation) -> KeyRing:
        """The new ring, after it counts.

        Raises what opening the ring raises, `KeyRingChanged` if another process was faster, and
        `RepositoryNotEncrypted`.
        """
        ring = read_key_ring(self._store, self._name)
        opened = open_ring(self._name, ring, self._files)
        if what is Rotation.REGION:
            return self._rotate_region(ring, opened)
        if what is Rotation.RECOVERY:
            return self._rotate_recovery(ring, opened)
        return self._put(ring, with_data_key(opened, self._source), self._wraps(ring))

    def _rotate_region(self, ring: KeyRing, opened: OpenRing) -> KeyRing:
        former_id = ring.region.key_id
        region_key = self._files.next_region_key(former_id)
        wraps = Wraps(
            region=wrap_for(region_key, ring.repository_id),
            region_since=self._source.now,
            recovery_key_id=ring.recovery.key_id,
            recovery_since=ring.recovery.since,
        )
        new = self._put(ring, opened, wraps)
        drop_rings_before(self._store, new)
        return new

    def _rotate_recovery(self, ring: KeyRing, opened: OpenRing) -> KeyRing:
        recovery_key = self._source.random_bytes(KEY_SIZE)
        self._files.keep_recovery_key(recovery_key)
        old = self._wraps(ring)
        wraps = Wraps(
            region=old.region,
            region_since=old.region_since,
            recovery_key_id=key_id(recovery_key),
            recovery_since=self._source.now,
        )
        lock = RecoveryUnwrap(recovery_key).lock
        new = self._put(ring, with_recovery(opened, lock, self._source), wraps)
        self._files.drop_recovery_key(ring.recovery.key_id)
        drop_rings_before(self._store, new)
        return new

    def _wraps(self, ring: KeyRing) -> Wraps:
        """As the ring is wrapped now; needs the region key itself."""
        return Wraps(
            region=region_wrap(self._name, ring, self._files),
            region_since=ring.region.since,
            recovery_key_id=ring.recovery.key_id,
            recovery_since=ring.recovery.since,
        )

    def _put(self, ring: KeyRing, opened: OpenRing, wraps: Wraps) -> KeyRing:
        new = wrapped_ring(opened, ring.number + 1, wraps, self._source)
        put_ring(self._store, self._name, new)
        return new
