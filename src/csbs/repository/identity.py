"""Who a repository is, and who may write to it: the objects `config` and `owners/<n>`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from blake3 import blake3

from csbs.domain.clock import NewId
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import text_object
from csbs.repository.errors import (
    CorruptObject,
    ObjectExists,
    ObjectNotFound,
    RepositoryOwned,
)
from csbs.repository.manifest import FORMAT, parsed, require_format, time_text
from csbs.repository.manifest_store import go_on, owner_of_key
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.twins import get_either, keys_of_either, put_twice

CONFIG_KEY = "config"
OWNERS = "owners/"
_OWNER_KEY = re.compile(r"owners/(\d{8})")
_KEY_SIZE = 32
#: A commit that is found late costs one number more; a former owner makes at most a few.
_TAKE_OVERS_MAX = 10

#: Of encrypted repositories; the only one.
CIPHER = "aes-256-gcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Identity of a repository, and the keys of a plain one.

    An encrypted one has a `cipher`, and its keys in a key ring.
    """

    repository_id: str
    created_at: str
    digest_key: bytes = field(default=b"", repr=False)
    mac_key: bytes = field(default=b"", repr=False)
    cipher: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The catalog that may write, and how many owners there were up to it."""

    number: int
    catalog_id: str
    #: Keys of former owners' manifests that count: those that it found when it took over.
    inherited: frozenset[str] = frozenset()

    def counts(self, key: str) -> bool:
        """Whether what is under this manifest key is a backup, not a former owner's late commit."""
        return owner_of_key(key) == self.number or key in self.inherited


@dataclass(frozen=True, slots=True)
class Successor:
    """The catalog that takes a repository over, and when."""

    catalog_id: str
    since: datetime


def new_config(now: datetime, new_id: NewId) -> Config:
    """A config of a plain repository, with keys that nobody can guess."""
    return Config(
        repository_id=new_id(),
        created_at=time_text(now),
        digest_key=_new_key(new_id),
        mac_key=_new_key(new_id),
    )


def new_encrypted_config(now: datetime, new_id: NewId) -> Config:
    """A config of an encrypted repository, whose keys are elsewhere."""
    return Config(repository_id=new_id(), created_at=time_text(now), cipher=CIPHER)


def encode_config(config: Config) -> bytes:
    """The object's bytes."""
    keys = {"digest_key": config.digest_key.hex(), "mac_key": config.mac_key.hex()}
    fields = {
        "format": FORMAT,
        "repository_id": config.repository_id,
        "created_at": config.created_at,
        "block_size_bytes": BLOCK_SIZE,
        "cipher": config.cipher,
        **({} if config.cipher else keys),
    }
    return text_object.encode(text_object.CONFIG_MAGIC, fields)


def decode_config(name: str, data: bytes) -> Config:
    """The config in `data`; `name` is the repository's, for errors.

    Raises `CorruptObject`, and `RepositoryTooNew` if the format is above ours.
    """
    fields = text_object.decode(CONFIG_KEY, text_object.CONFIG_MAGIC, data)
    return parsed(CONFIG_KEY, fields, lambda each: _config_from(name, each))


def encode_owner(catalog_id: str, since: datetime, inherited: Iterable[str] = ()) -> bytes:
    """The object's bytes."""
    fields = {
        "catalog_id": catalog_id,
        "since": time_text(since),
        "manifests": sorted(inherited),
    }
    return text_object.encode(text_object.OWNER_MAGIC, fields)


def find_config(store: ObjectStore, name: str) -> Config | None:
    """The repository's config; None where there is no repository yet.

    Raises `CorruptObject` where only the config is gone: another one, with other keys, would
    make all that is there unreadable.
    """
    try:
        return get_either(store, CONFIG_KEY, partial(decode_config, name))
    except ObjectNotFound:
        pass
    for prefix in ("manifests/", "packs/"):
        if next(iter(store.list(prefix)), None) is not None:
            raise CorruptObject(CONFIG_KEY, f"the config of what is in {prefix}", "nothing")
    return None


def make_config(store: ObjectStore, name: str, new: Config) -> Config:
    """`new`, as the config of a new repository, or that of who was faster."""
    try:
        put_twice(store, CONFIG_KEY, encode_config(new))
    except ObjectExists:  # another process was faster
        return decode_config(name, store.get(CONFIG_KEY))
    return new


def current_owner(store: ObjectStore) -> Owner | None:
    """Who may write now; None in a repository that was just made."""
    number = _newest(keys_of_either(store, OWNERS))
    if number is None:
        return None
    key = _owner_key(number)
    return get_either(store, key, partial(decode_owner, key))


def open_owner(store: ObjectStore, catalog_id: str, now: datetime) -> Owner:
    """Who may write; `catalog_id` from now on if nobody did yet."""
    found = current_owner(store)
    if found is None:
        require_owner_of_all(store)
        with suppress(ObjectExists):  # another process was faster
            put_twice(store, _owner_key(1), encode_owner(catalog_id, now))
        found = current_owner(store)
        assert found is not None, "an owner object is never removed"
    return found


def require_owner_of_all(store: ObjectStore, check: Callable[[], None] = go_on) -> None:
    """Raises `CorruptObject` where a manifest tells of an owner after the last that is there.

    To those before it, and to a new one, that backup would not count; and what does not count is
    collected.  What `check`, which is called all the time, raises ends it.
    """
    last = _newest(keys_of_either(store, OWNERS)) or 0
    for each in store.list("manifests/"):
        check()
        number = owner_of_key(each.key)
        if number > last:
            raise CorruptObject(_owner_key(number), f"the owner of {each.key}", "nothing")


def require_owner(store: ObjectStore, name: str, opened: Owner, catalog_id: str) -> None:
    """Raises `RepositoryOwned` unless `opened` is this catalog, and still the last owner.

    Asks for nothing but the listing: what has been put under a number never changes.
    """
    newest = _newest(each.key for each in store.list(OWNERS))
    if opened.catalog_id == catalog_id and newest == opened.number:
        return
    owner = current_owner(store)
    if owner == opened and owner.catalog_id == catalog_id:  # its object is lost, its twin is there
        return
    raise RepositoryOwned(name, "nobody" if owner is None else owner.catalog_id)


def take_over(
    store: ObjectStore,
    name: str,
    successor: Successor,
    counting: Callable[[Owner, frozenset[str]], frozenset[str]],
) -> Owner:
    """Makes the successor the owner; it inherits what counts under the owner before.

    A former owner looks for a new number after each commit.  So, once our number is there, a
    commit either sees it, or is found by looking again; then the next number inherits it too.
    `counting` lists the keys that count under an owner, but for those that are known.  Raises
    `RepositoryOwned` if another was faster.
    """
    former = current_owner(store)
    number = 0 if former is None else former.number
    inherited: frozenset[str] = frozenset()
    if former is not None:
        inherited = counting(former, inherited)
    for _ in range(_TAKE_OVERS_MAX):
        number += 1
        owner = Owner(number, successor.catalog_id, inherited)
        try:
            data = encode_owner(successor.catalog_id, successor.since, inherited)
            put_twice(store, _owner_key(number), data)
        except ObjectExists:
            break
        found = frozenset() if former is None else counting(former, inherited)
        if not found:
            return owner
        inherited |= found
    faster = current_owner(store)
    raise RepositoryOwned(name, "nobody" if faster is None else faster.catalog_id)


def decode_owner(key: str, data: bytes) -> Owner:
    """The owner in `data`, which was found under `key`.  Raises `CorruptObject`."""
    fields = text_object.decode(key, text_object.OWNER_MAGIC, data)
    match = _OWNER_KEY.fullmatch(key)
    if match is None:
        raise CorruptObject(key, "a key of owners", "another")
    return parsed(key, fields, lambda each: _owner_from(int(match[1]), each))


def _newest(keys: Iterable[str]) -> int | None:
    matches = (_OWNER_KEY.fullmatch(key) for key in keys)
    return max((int(match[1]) for match in matches if match), default=None)


def _owner_from(number: int, fields: Mapping[str, Any]) -> Owner:
    inherited = fields.get("manifests", [])
    if not all(isinstance(key, str) for key in inherited):
        raise ValueError("manifests that are no keys")
    return Owner(number, str(fields["catalog_id"]), frozenset(inherited))


def _owner_key(number: int) -> str:
    return f"{OWNERS}{number:08d}"


def _new_key(new_id: NewId) -> bytes:
    """256 bits out of four random UUIDs, which carry 122 each."""
    return blake3("".join(new_id() for _ in range(4)).encode()).digest()


def _config_from(name: str, fields: Mapping[str, Any]) -> Config:
    require_format(name, fields["format"])
    cipher = fields["cipher"]
    if fields["block_size_bytes"] != BLOCK_SIZE or cipher not in (None, CIPHER):
        raise ValueError(f"blocks of {fields['block_size_bytes']}, cipher {cipher}")
    identity = Config(
        repository_id=str(UUID(fields["repository_id"])),
        created_at=str(fields["created_at"]),
        cipher=cipher,
    )
    if cipher is not None:
        return identity
    config = replace(
        identity,
        digest_key=bytes.fromhex(fields["digest_key"]),
        mac_key=bytes.fromhex(fields["mac_key"]),
    )
    if {len(config.digest_key), len(config.mac_key)} != {_KEY_SIZE}:
        raise ValueError(f"keys of another size than {_KEY_SIZE}")
    return config
