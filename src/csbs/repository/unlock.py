"""Opens the keys of a repository, and makes those of a new one.

A new encrypted repository comes to be by one create-only put, that of its config:

    1  the region key is in its file
    2  the recovery key waits in a file     nobody can lose a key that was never written down
    3  the key ring, under an id of its own nothing names it yet
    4  the config, which names that id      from here on the repository exists

A crash before 4 leaves a ring and a file that open nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from csbs.domain.clock import NewId, RandomBytes, random_bytes
from csbs.repository.aead import KEY_SIZE
from csbs.repository.errors import KeyMissing, RepositoryNotEncrypted, RepositoryNotFound, WrongKey
from csbs.repository.frame_cipher import DataKeys
from csbs.repository.identity import (
    Config,
    find_config,
    make_config,
    new_config,
    new_encrypted_config,
)
from csbs.repository.key_files import KeyFiles
from csbs.repository.key_ring import (
    KeyRing,
    KeySource,
    KeyUse,
    OpenRing,
    Wraps,
    new_ring,
    opened_by_recovery,
    opened_by_region,
    wrapped_ring,
)
from csbs.repository.key_store import current_ring, put_ring, ring_key
from csbs.repository.key_text import key_id
from csbs.repository.manifest import ManifestKeys, time_text
from csbs.repository.manifest_seal import ManifestSeal
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.twins import delete_both
from csbs.repository.wrapping import RecoveryUnwrap, RegionWrap

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How repositories are encrypted here.

    `wanted`: a new one is encrypted, and nothing is written to a plain one.
    """

    wanted: bool
    files: KeyFiles
    random_bytes: RandomBytes = random_bytes

    def source(self, now: datetime, new_id: NewId) -> KeySource:
        """Where new keys come from."""
        return KeySource(now=time_text(now), new_id=new_id, random_bytes=self.random_bytes)


@dataclass(frozen=True, slots=True)
class RepositoryKeys:
    """The keys of an open repository; `data` is None in a plain one."""

    digest_key: bytes = field(repr=False)
    manifests: ManifestKeys
    data: DataKeys | None = None


def open_keys(
    store: ObjectStore, name: str, encryption: Encryption | None, now: datetime, new_id: NewId
) -> tuple[Config, RepositoryKeys]:
    """Config and keys of the repository, which is made if there is none.

    Raises `KeyMissing`, `WrongKey`, `KeyFileUnusable`, `CorruptObject`, `RepositoryTooNew`.
    """
    config = find_config(store, name)
    if config is None:
        if encryption is not None and encryption.wanted:
            config = _make_encrypted(store, name, encryption, now, new_id)
        else:
            config = make_config(store, name, new_config(now, new_id))
    if config.cipher is None:
        return config, _plain_keys(config)
    ring = current_ring(store, config.repository_id)
    if encryption is None:
        raise KeyMissing(name, ring.region.key_id, "the settings")
    opened = open_ring(name, ring, encryption.files)
    return config, _ring_keys(opened, encryption.random_bytes)


def read_key_ring(store: ObjectStore, name: str) -> KeyRing:
    """The key ring of the repository, for which no key is needed.

    Raises `RepositoryNotFound`, `RepositoryNotEncrypted`, `CorruptObject`, `RepositoryTooNew`.
    """
    config = find_config(store, name)
    if config is None:
        raise RepositoryNotFound(name)
    if config.cipher is None:
        raise RepositoryNotEncrypted(name)
    return current_ring(store, config.repository_id)


def open_ring(name: str, ring: KeyRing, files: KeyFiles) -> OpenRing:
    """All keys of the ring: by the recovery key if one was given, else by the region key.

    Raises `KeyMissing`, `WrongKey`, `KeyFileUnusable`, `CorruptObject`.
    """
    key = ring_key(ring.repository_id, ring.number)
    recovery_key = files.recovery_key()
    if recovery_key is None:
        return opened_by_region(key, ring, region_wrap(name, ring, files))
    unwrap = RecoveryUnwrap(recovery_key)
    if unwrap.key_id != ring.recovery.key_id:
        raise WrongKey(name, "recovery", ring.recovery.key_id, str(files.recovery_file))
    return opened_by_recovery(key, ring, unwrap)


def region_wrap(name: str, ring: KeyRing, files: KeyFiles) -> RegionWrap:
    """The region key of the ring.  Raises `KeyMissing`, `WrongKey`, `KeyFileUnusable`."""
    wanted_id = ring.region.key_id
    region_key = files.region_key(wanted_id)
    if region_key is None:
        if files.region_keys():
            raise WrongKey(name, "region", wanted_id, str(files.region_file))
        raise KeyMissing(name, wanted_id, str(files.region_file))
    return wrap_for(region_key, ring.repository_id)


def wrap_for(region_key: bytes, repository_id: str) -> RegionWrap:
    """The region key, for the keys of this repository."""
    return RegionWrap(region_key, UUID(repository_id).bytes)


def _make_encrypted(
    store: ObjectStore, name: str, encryption: Encryption, now: datetime, new_id: NewId
) -> Config:
    source, files = encryption.source(now, new_id), encryption.files
    new = new_encrypted_config(now, new_id)
    region_key = files.newest_region_key()
    recovery_key = encryption.random_bytes(KEY_SIZE)
    files.keep_recovery_key(recovery_key)
    wraps = Wraps(
        region=wrap_for(region_key, new.repository_id),
        region_since=source.now,
        recovery_key_id=key_id(recovery_key),
        recovery_since=source.now,
    )
    opened = new_ring(new.repository_id, RecoveryUnwrap(recovery_key).lock, source)
    put_ring(store, name, wrapped_ring(opened, 1, wraps, source))
    config = make_config(store, name, new)
    if config == new:
        log.warning(
            "a new repository is encrypted: keep a copy of its region key, and have its recovery "
            "key shown by `csbs repository recovery-key`, once",
            extra={"repository": name, "region_key_file": str(files.region_file)},
        )
    else:  # another process was faster
        delete_both(store, ring_key(new.repository_id, 1))
        files.drop_recovery_key(wraps.recovery_key_id)
    return config


def _plain_keys(config: Config) -> RepositoryKeys:
    return RepositoryKeys(config.digest_key, ManifestKeys(config.repository_id, config.mac_key))


def _ring_keys(ring: OpenRing, random_bytes: RandomBytes) -> RepositoryKeys:
    data_keys = {UUID(key.id).bytes: key.secret for key in ring.data_keys}
    seal = ManifestSeal(ring.secret(KeyUse.SEAL))
    return RepositoryKeys(
        ring.secret(KeyUse.DIGEST),
        ManifestKeys(ring.repository_id, ring.secret(KeyUse.MAC), seal),
        DataKeys(data_keys, UUID(ring.data_keys[-1].id).bytes, random_bytes),
    )
