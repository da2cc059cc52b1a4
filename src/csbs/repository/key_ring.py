"""Codec of key rings: the keys of an encrypted repository, each wrapped twice.

Pure; see docs/design/repository-format.md, "Key ring".  Each wrapped key is bound to its ring,
its place in it and all that the ring says of it: keys can neither be mixed, moved nor left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from csbs.domain.clock import NewId, RandomBytes
from csbs.repository import text_object
from csbs.repository.aead import KEY_SIZE
from csbs.repository.errors import CorruptObject
from csbs.repository.manifest import FORMAT, parsed, require_format
from csbs.repository.wrapping import RecoveryLock, RecoveryUnwrap, RegionWrap


class KeyUse(StrEnum):
    """What a key is for."""

    DIGEST = "digest"
    MAC = "mac"
    SEAL = "seal"
    RECOVERY = "recovery"
    DATA = "data"


#: Keys that a ring has once and that never change (`RECOVERY` changes with the recovery key).
_SUBKEYS = (KeyUse.DIGEST, KeyUse.MAC, KeyUse.SEAL)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """One key as the ring has it; `recovery` is None for the recovery lock itself."""

    id: str
    use: KeyUse
    since: str
    region: bytes
    recovery: bytes | None


@dataclass(frozen=True, slots=True)
class WrappedBy:
    """The key that wraps all keys of a ring."""

    key_id: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """A key ring as it is stored: whoever has no key sees ids and times."""

    repository_id: str
    number: int
    created_at: str
    region: WrappedBy
    recovery: WrappedBy
    keys: tuple[WrappedKey, ...]


@dataclass(frozen=True, slots=True)
class OpenKey:
    """One key, unwrapped."""

    id: str
    use: KeyUse
    since: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenRing:
    """All keys of a repository, in the order of the ring; the last data key is the current one."""

    repository_id: str
    keys: tuple[OpenKey, ...]

    def secret(self, use: KeyUse) -> bytes:
        """The only key of this use."""
        return next(key.secret for key in self.keys if key.use is use)

    @property
    def data_keys(self) -> tuple[OpenKey, ...]:
        """The oldest first."""
        return tuple(key for key in self.keys if key.use is KeyUse.DATA)

    @property
    def recovery_lock(self) -> RecoveryLock:
        """What wraps for the recovery key."""
        return RecoveryLock.from_bytes(self.secret(KeyUse.RECOVERY))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where new keys come from, and when."""

    now: str
    new_id: NewId
    random_bytes: RandomBytes

    def key(self, use: KeyUse, secret: bytes | None = None) -> OpenKey:
        """A new key."""
        return OpenKey(self.new_id(), use, self.now, secret or self.random_bytes(KEY_SIZE))


def new_ring(repository_id: str, recovery: RecoveryLock, source: KeySource) -> OpenRing:
    """The keys of a new repository."""
    keys = [source.key(use) for use in _SUBKEYS]
    keys.append(source.key(KeyUse.RECOVERY, recovery.to_bytes()))
    keys.append(source.key(KeyUse.DATA))
    return OpenRing(repository_id, tuple(keys))


def with_data_key(ring: OpenRing, source: KeySource) -> OpenRing:
    """The ring with a new data key, which is the current one."""
    return replace(ring, keys=(*ring.keys, source.key(KeyUse.DATA)))


def with_recovery(ring: OpenRing, recovery: RecoveryLock, source: KeySource) -> OpenRing:
    """The ring for another recovery key."""
    new = source.key(KeyUse.RECOVERY, recovery.to_bytes())
    return replace(
        ring, keys=tuple(new if key.use is KeyUse.RECOVERY else key for key in ring.keys)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wraps:
    """By what a ring is wrapped."""

    region: RegionWrap
    region_since: str
    recovery_key_id: str
    recovery_since: str


def wrapped_ring(ring: OpenRing, number: int, wraps: Wraps, source: KeySource) -> KeyRing:
    """The ring as it is stored under this number: all of it wrapped anew."""
    stored = KeyRing(
        repository_id=ring.repository_id,
        number=number,
        created_at=source.now,
        region=WrappedBy(wraps.region.key_id, wraps.region_since),
        recovery=WrappedBy(wraps.recovery_key_id, wraps.recovery_since),
        keys=tuple(WrappedKey(key.id, key.use, key.since, b"", None) for key in ring.keys),
    )
    lock, random_bytes = ring.recovery_lock, source.random_bytes
    keys = []
    for place, key in enumerate(ring.keys):
        region = _associated(stored, place, stored.region)
        recovery = _associated(stored, place, stored.recovery)
        keys.append(
            WrappedKey(
                key.id,
                key.use,
                key.since,
                wraps.region.wrap(key.secret, region, random_bytes),
                None
                if key.use is KeyUse.RECOVERY
                else lock.wrap(key.secret, recovery, random_bytes),
            )
        )
    return replace(stored, keys=tuple(keys))


def opened_by_region(name: str, ring: KeyRing, wrap: RegionWrap) -> OpenRing:
    """All keys, by the region key that the ring names.  Raises `CorruptObject` (with `name`)."""
    assert wrap.key_id == ring.region.key_id, "the caller compares ids"
    keys = []
    for place, key in enumerate(ring.keys):
        secret = wrap.unwrap(key.region, _associated(ring, place, ring.region))
        keys.append(_opened(name, key, secret))
    return OpenRing(ring.repository_id, tuple(keys))


def opened_by_recovery(name: str, ring: KeyRing, unwrap: RecoveryUnwrap) -> OpenRing:
    """All keys, by the recovery key that the ring names.  Raises `CorruptObject` (with `name`)."""
    assert unwrap.key_id == ring.recovery.key_id, "the caller compares ids"
    keys = []
    for place, key in enumerate(ring.keys):
        secret: bytes | None = unwrap.lock.to_bytes()
        if key.use is not KeyUse.RECOVERY:
            associated = _associated(ring, place, ring.recovery)
            secret = unwrap.unwrap(key.recovery or b"", associated)
        keys.append(_opened(name, key, secret))
    return OpenRing(ring.repository_id, tuple(keys))


def encode_ring(ring: KeyRing) -> bytes:
    """The object's bytes."""
    fields = {
        "format": FORMAT,
        "repository_id": ring.repository_id,
        "number": ring.number,
        "created_at": ring.created_at,
        "region_key": {"id": ring.region.key_id, "since": ring.region.since},
        "recovery_key": {"id": ring.recovery.key_id, "since": ring.recovery.since},
        "keys": [
            {
                "id": key.id,
                "use": str(key.use),
                "since": key.since,
                "region": key.region.hex(),
                "recovery": None if key.recovery is None else key.recovery.hex(),
            }
            for key in ring.keys
        ],
    }
    return text_object.encode(text_object.KEY_RING_MAGIC, fields)


def decode_ring(key: str, data: bytes) -> KeyRing:
    """The ring that was found under `key`.

    Raises `CorruptObject`, and `RepositoryTooNew` if its format is above ours.
    """
    fields = text_object.decode(key, text_object.KEY_RING_MAGIC, data)
    return parsed(key, fields, lambda each: _ring_from(key, each))


def _ring_from(key: str, fields: Mapping[str, Any]) -> KeyRing:
    require_format(key, fields["format"])
    ring = KeyRing(
        repository_id=str(UUID(fields["repository_id"])),
        number=int(fields["number"]),
        created_at=str(fields["created_at"]),
        region=_wrapped_by(fields["region_key"]),
        recovery=_wrapped_by(fields["recovery_key"]),
        keys=tuple(_key_from(each) for each in fields["keys"]),
    )
    uses = [each.use for each in ring.keys]
    once = all(uses.count(use) == 1 for use in (*_SUBKEYS, KeyUse.RECOVERY))
    if not once or KeyUse.DATA not in uses:
        raise ValueError(f"keys for {', '.join(uses)}")
    return ring


def _wrapped_by(fields: Mapping[str, Any]) -> WrappedBy:
    return WrappedBy(str(fields["id"]), str(fields["since"]))


def _key_from(fields: Mapping[str, Any]) -> WrappedKey:
    recovery = fields["recovery"]
    return WrappedKey(
        id=str(UUID(fields["id"])),
        use=KeyUse(fields["use"]),
        since=str(fields["since"]),
        region=bytes.fromhex(fields["region"]),
        recovery=None if recovery is None else bytes.fromhex(recovery),
    )


def _associated(ring: KeyRing, place: int, by: WrappedBy) -> bytes:
    key = ring.keys[place]
    parts = (
        text_object.KEY_RING_MAGIC.decode(),
        ring.repository_id,
        str(ring.number),
        str(len(ring.keys)),
        str(place),
        key.id,
        key.use,
        key.since,
        by.key_id,
    )
    return " ".join(parts).encode()


def _opened(name: str, key: WrappedKey, secret: bytes | None) -> OpenKey:
    size = 2 * KEY_SIZE if key.use is KeyUse.RECOVERY else KEY_SIZE
    if secret is None or len(secret) != size:
        raise CorruptObject(name, f"key {key.id} as it was wrapped", "other bytes")
    return OpenKey(key.id, key.use, key.since, secret)
