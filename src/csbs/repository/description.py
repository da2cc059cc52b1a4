"""What a person wants to know of a repository, without making or changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from csbs.repository.errors import ObjectNotFound, RepositoryNotFound
from csbs.repository.identity import CONFIG_KEY, current_owner, decode_config
from csbs.repository.manifest import FORMAT, ManifestKeys
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.twins import get_either


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryDescription:
    """A repository as it is now."""

    name: str
    repository_id: str
    format: int
    created_at: str
    #: The catalog that may write to it; empty if there is none yet.
    owner: str
    backups: int
    packs: int
    stored_bytes: int


def describe(store: ObjectStore, name: str) -> RepositoryDescription:
    """The repository in `store`, without its keys; `name` is what a person calls the place.

    Raises `RepositoryNotFound`, `RepositoryTooNew`, `CorruptObject`.
    """
    try:
        config = get_either(store, CONFIG_KEY, partial(decode_config, name))
    except ObjectNotFound as error:
        raise RepositoryNotFound(name) from error
    owner = current_owner(store)
    counts = owner.counts if owner else bool
    manifests = ManifestStore(store, ManifestKeys(config.repository_id, config.mac_key), counts)
    sizes = [info.size_bytes for info in store.list("packs/")]
    return RepositoryDescription(
        name=name,
        repository_id=config.repository_id,
        format=FORMAT,
        created_at=config.created_at,
        owner="" if owner is None else owner.catalog_id,
        backups=sum(1 for _ in manifests.live_keys()),
        packs=len(sizes),
        stored_bytes=sum(sizes),
    )
