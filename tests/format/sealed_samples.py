"""One value of each kind of encrypted object: fixed keys, and "random" bytes that are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from uuid import UUID

from csbs.repository.frame_cipher import DataKeys
from csbs.repository.identity import CIPHER, Config, encode_config
from csbs.repository.key_ring import (
    KeyRing,
    KeySource,
    KeyUse,
    OpenRing,
    Wraps,
    encode_ring,
    new_ring,
    with_data_key,
    wrapped_ring,
)
from csbs.repository.key_text import KeyKind, key_id, key_text
from csbs.repository.manifest import Manifest, ManifestKeys, encode_manifest
from csbs.repository.manifest_seal import ManifestSeal
from csbs.repository.pack import Content, Frame, PackBuilder
from csbs.repository.wrapping import RecoveryUnwrap, RegionWrap

REPOSITORY_ID = "11111111-2222-4333-8444-555555555555"
REGION_KEY = bytes(range(100, 132))
RECOVERY_KEY = bytes(range(132, 164))
CONFIG = Config(repository_id=REPOSITORY_ID, created_at="2026-01-31T23:30:05Z", cipher=CIPHER)


def counted(first: int) -> Callable[[int], bytes]:
    """Bytes that are all one number, another at each call."""
    numbers = count(first)
    return lambda size: bytes([next(numbers)]) * size


def source() -> KeySource:
    """New keys, the same at each call."""
    ids = (str(UUID(int=number, version=4)) for number in count(1))
    return KeySource(now="2026-01-31T23:30:05Z", new_id=lambda: next(ids), random_bytes=counted(1))


def open_ring() -> OpenRing:
    """A ring with two data keys."""
    keys = source()
    ring = new_ring(REPOSITORY_ID, RecoveryUnwrap(RECOVERY_KEY).lock, keys)
    return with_data_key(ring, replace(keys, now="2026-02-28T00:00:00Z"))


def ring() -> KeyRing:
    """The same as it is stored."""
    wraps = Wraps(
        region=RegionWrap(REGION_KEY, UUID(REPOSITORY_ID).bytes),
        region_since="2026-01-31T23:30:05Z",
        recovery_key_id=key_id(RECOVERY_KEY),
        recovery_since="2026-01-31T23:30:05Z",
    )
    return wrapped_ring(open_ring(), 2, wraps, replace(source(), random_bytes=counted(32)))


def data_keys() -> DataKeys:
    """Those of the ring; the second is the current one."""
    found = {UUID(key.id).bytes: key.secret for key in open_ring().data_keys}
    return DataKeys(found, list(found)[-1], counted(64))


def manifest_keys() -> ManifestKeys:
    """Those of the ring."""
    opened = open_ring()
    return ManifestKeys(
        REPOSITORY_ID, opened.secret(KeyUse.MAC), ManifestSeal(opened.secret(KeyUse.SEAL))
    )


def pack(pack_id: bytes, frames: list[Frame]) -> bytes:
    """A whole pack."""
    builder = PackBuilder(pack_id, Content.BLOCKS, data_keys().new_cipher(pack_id))
    for frame in frames:
        builder.add(frame)
    return b"".join(builder.finish())


def samples(pack_id: bytes, frames: list[Frame], manifest: Manifest) -> dict[str, bytes]:
    """The bytes of each kind of object, by the names of their golden files."""
    return {
        "encrypted-config": encode_config(CONFIG),
        "key-ring": encode_ring(ring()),
        "encrypted-manifest": encode_manifest(manifest, manifest_keys()),
        "encrypted-pack": pack(pack_id, frames),
        "region-key": f"{key_text(KeyKind.REGION, REGION_KEY)}\n".encode(),
        "recovery-key": f"{key_text(KeyKind.RECOVERY, RECOVERY_KEY)}\n".encode(),
    }
