"""Chooses the adapter of an object store by its place, and puts together what is around it.

throttle      waits as long as the rate says, so it is outside of the limit of a call
time limit    a call ends, whatever hangs
ask again     where there is a network
folder | S3
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from csbs.agent.rate_limit import RateLimit
from csbs.compute.base import never
from csbs.config import Settings
from csbs.domain.clock import new_id
from csbs.domain.errors import InvalidSetting
from csbs.domain.rate import parse_rate
from csbs.domain.store_url import FolderPlace, S3Place, StorePlace
from csbs.repository import FETCH_SIZE_MAX
from csbs.repository.errors import ObjectNotFound, StoreMissing, StoreUnavailable
from csbs.repository.identity import CONFIG_KEY
from csbs.repository.objectstore import (
    FolderStore,
    ObjectStore,
    RetryingStore,
    RetryPolicy,
    ThrottledStore,
    TimeLimit,
    TimeLimitedStore,
)
from csbs.repository.twins import delete_both, twin_key

if TYPE_CHECKING:  # what it needs is loaded where a store is in S3
    from csbs.repository.objectstore.s3 import S3Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How stores are used; what is the same for all calls of this process."""

    timeout_s: float
    s3_access_key_id: str = ""
    s3_secret_access_key: str = field(default="", repr=False)
    s3_ca_file: Path | None = None
    #: Shared by all stores that are opened with these options.
    rate_limit: RateLimit | None = None


def fetch_size_max(place: StorePlace) -> int:
    """How much of a pack a restore reads at once: over a network each read is a round trip."""
    return FETCH_SIZE_MAX if isinstance(place, FolderPlace) else 4 * FETCH_SIZE_MAX


def options(settings: Settings) -> StoreOptions:
    """What the settings say of the store."""
    limit = settings.store_rate_limit
    return StoreOptions(
        timeout_s=settings.store_timeout_s,
        s3_access_key_id=settings.s3_access_key_id,
        s3_secret_access_key=settings.s3_secret_access_key,
        s3_ca_file=Path(settings.s3_ca_file) if settings.s3_ca_file else None,
        rate_limit=RateLimit(parse_rate(limit)) if limit else None,
    )


def options_of_copy(settings: Settings) -> StoreOptions:
    """Likewise of the store to which the repository is copied."""
    return replace(
        options(settings),
        s3_access_key_id=settings.copy_s3_access_key_id or settings.s3_access_key_id,
        s3_secret_access_key=settings.copy_s3_secret_access_key or settings.s3_secret_access_key,
    )


def open_store(
    place: StorePlace, options: StoreOptions, *, cancelled: Callable[[], bool]
) -> ObjectStore:
    """The store at `place`, which may not be there yet.

    Its calls end soon after `cancelled`.  Raises `InvalidSetting` where keys are missing.
    """
    store, _ = _opened(place, options, cancelled)
    return store


def make_store(
    place: StorePlace, options: StoreOptions, *, cancelled: Callable[[], bool]
) -> ObjectStore:
    """The store at `place`, made ready for a repository; may be repeated.

    A bucket is never made: raises `StoreMissing`.  Raises `StoreUnsuitable` for a server that
    cannot keep backups, and like `open_store`.
    """
    store, make = _opened(place, options, cancelled)
    make()
    return store


def require_made(
    place: StorePlace, options: StoreOptions, *, cancelled: Callable[[], bool]
) -> ObjectStore:
    """The store at `place`, in which a repository must be.

    Raises `StoreMissing` or `StoreUnavailable` if it is not, and like `open_store`.
    """
    store, _ = _opened(place, options, cancelled)
    if isinstance(place, S3Place) and not _has_config(store):  # a folder notices by itself
        why = "it has no repository, and there should be one; is store_url right?"
        raise StoreMissing(place.name, why)
    return store


def repositories_below(place: StorePlace, options: StoreOptions) -> list[str]:
    """Names of the places below `place` that have a repository, ascending.

    Raises what `open_store` and the store raise.
    """
    if isinstance(place, FolderPlace):
        either = (CONFIG_KEY, twin_key(CONFIG_KEY))
        found = (path for key in either for path in place.folder.glob(f"*/{key}"))
        return sorted({path.relative_to(place.folder).parts[0] for path in found})
    names = _s3_store(place, options).folders()
    return [name for name in names if _has_config(_s3_store(place.below(name), options))]


def erase_store(place: StorePlace, options: StoreOptions) -> None:
    """Removes a repository with all that is in its place; one that is not there is fine.

    Its config goes first, and with it all keys.  Raises what the store raises.
    """
    if isinstance(place, S3Place):
        store = open_store(place, options, cancelled=never)
        delete_both(store, CONFIG_KEY)
        for each in list(store.list("")):
            store.delete(each.key)
        return
    try:
        for key in (twin_key(CONFIG_KEY), CONFIG_KEY):
            (place.folder / key).unlink(missing_ok=True)
        if place.folder.exists():
            shutil.rmtree(place.folder)
    except OSError as error:
        raise StoreUnavailable(place.name, error.strerror or str(error)) from error


def _has_config(store: ObjectStore) -> bool:
    for key in (CONFIG_KEY, twin_key(CONFIG_KEY)):
        with suppress(ObjectNotFound):
            store.size(key)
            return True
    return False


def _s3_store(place: S3Place, options: StoreOptions) -> S3Store:
    from csbs.repository.objectstore.s3 import S3Access, S3Store  # noqa: PLC0415  see there

    access = S3Access(
        access_key_id=_required("s3_access_key_id", options.s3_access_key_id),
        secret_access_key=_required("s3_secret_access_key", options.s3_secret_access_key),
        timeout_s=options.timeout_s,
        ca_file=options.s3_ca_file,
    )
    return S3Store(place, access)


def _opened(
    place: StorePlace, options: StoreOptions, cancelled: Callable[[], bool]
) -> tuple[ObjectStore, Callable[[], None]]:
    """The store, and what makes it ready."""
    limit = TimeLimit(timeout_s=options.timeout_s, cancelled=cancelled)
    if isinstance(place, FolderPlace):
        folder = FolderStore(place.folder)
        limited = TimeLimitedStore(folder, limit, name=place.name)
        make = folder.make
    else:
        plain = _s3_store(place, options)
        policy = RetryPolicy(timeout_s=options.timeout_s, cancelled=cancelled)
        limited = TimeLimitedStore(RetryingStore(plain, policy), limit, name=place.name)
        make = partial(_require_good, plain)
    store: ObjectStore = limited
    if options.rate_limit is not None:
        take = options.rate_limit.take
        store = ThrottledStore(limited, lambda size_bytes: take(size_bytes, cancelled))
    return store, partial(limited.call, "make", "", make)


def _require_good(store: S3Store) -> None:
    """Tries a place where nothing is yet; who may only read what is there need not write."""
    if not _has_config(store):
        store.require_create_only(new_id)


def _required(name: str, value: str) -> str:
    if not value:
        raise InvalidSetting(name, "a store in S3 needs it")
    return value
