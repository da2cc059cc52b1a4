"""Copies a repository to another store, object by object, without keys.

1 list      manifests and all else that is small, at the source: what is to be copied
2 packs     listed only then, so they have all that those manifests name; copied side by side, and
            what is known of damage in them before
3 owners, keys ...
4 tombstones, before the manifests that they end
5 manifests and voids
6 config    at the end, after its twin: without it nobody takes the target for a repository
7 key rings that the source has no more go at the target too

Objects never change once they are written (a manifest may become a void), so a pack or a manifest
that is at the target with the same size need not be copied again; what is small and vital is
compared.  Another size is damage at the target where the source's object is whole, which can be
told of all but manifests without keys.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from blake3 import blake3

from csbs.domain.clock import Clock, utc_now
from csbs.domain.errors import Corrupt, OperationCancelled, Refused
from csbs.domain.task import Progress
from csbs.repository import text_object
from csbs.repository.damage import keep_damage, known_damage
from csbs.repository.errors import (
    CorruptObject,
    ObjectExists,
    ObjectNotFound,
    RepositoryNotFound,
)
from csbs.repository.identity import CONFIG_KEY, OWNERS
from csbs.repository.key_store import KEY_RINGS
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore
from csbs.repository.pack import PACK_KEY, pack_key
from csbs.repository.twins import TWINS, delete_both, get_either, keys_of_either, twin_key

#: A pack is held in memory on its way; so many at once keep two networks busy.
THREADS = 3

_PACKS = "packs/"
_CHECK_SIZE = 32
#: Prefixes of the format, in the order of their copies.  `objects/` has packs too, once it is used.
_SMALL = (
    re.compile(r"(twins/)?(owners|keys)/.+|(relocations|condemned|replicas)/.+"),
    re.compile(r"manifests/.+\.tombstone-.+"),
    re.compile(r"manifests/.+"),
    re.compile(twin_key(CONFIG_KEY)),
    re.compile(CONFIG_KEY),
)
_SMALL_PREFIXES = (
    *("owners/", "keys/", TWINS, "relocations/", "condemned/", "replicas/"),
    "manifests/",
)
#: Small, few, and everything hangs on them.
_COMPARED = re.compile(rf"({TWINS})?({OWNERS}.+|{KEY_RINGS}.+|{CONFIG_KEY})")
#: Text objects, which have a check.
_OURS = re.compile(
    rf"({TWINS})?({CONFIG_KEY}|{OWNERS}\d{{8}}|{KEY_RINGS}[0-9a-f-]{{36}}/\d{{8}})"
    r"|manifests/\d{4}-\d{2}/\d{8}-[0-9a-f-]{36}(\.tombstone-\d{4}(\.end)?)?"
)


class _Done(Enum):
    """What became of a small object."""

    COPIED = auto()
    PRESENT = auto()
    DAMAGED = auto()


@dataclass(eq=False)
class MirrorMismatch(Refused):
    """What is at the target belongs to another repository."""

    target: str
    key: str

    template = (
        "{0.target} holds another repository (its {0.key} differs): copy to an empty place. "
        "Nothing there was overwritten"
    )


@dataclass(eq=False)
class MirrorIncomplete(Corrupt):
    """All was copied but what is damaged at the source."""

    repository: str
    keys: tuple[str, ...]

    @property
    def _keys(self) -> str:
        return ", ".join(self.keys)

    template = (
        "objects of the repository at {0.repository} are damaged and were not copied: {0._keys}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """What a copy did."""

    copied_objects: int
    copied_bytes: int
    #: Were there already.
    present_objects: int
    #: Keys of what is not what was written; it was left out.
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """From where to where; names are for errors."""

    source: ObjectStore
    target: ObjectStore
    source_name: str
    target_name: str
    progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]
    clock: Clock = utc_now


def mirror(copy: Mirror) -> MirrorReport:
    """Makes the target hold what the source holds; may be repeated, and then goes on.

    The source may be written to meanwhile, but not collected (the caller holds the shared lock).
    The target then holds every backup that was committed when the copy began, each whole, less
    those deleted by then; of later ones perhaps packs that nothing names yet.  Broken off, the
    target is no repository yet, or it holds the backups of an earlier copy and some of this one,
    each whole.  Nothing is ever removed from the target but manifests that became void, key rings
    that the source dropped, and what was known of damage when more is; what its backups need no
    more is freed by a collection there.  An object that is damaged at the target is put anew, one
    that is damaged at the source is left out and named.

    Raises `RepositoryNotFound` if the source holds no repository, `MirrorMismatch`,
    `OperationCancelled`, and what the stores raise.
    """
    config = _require_same_repository(copy)
    small = [info for prefix in _SMALL_PREFIXES for info in copy.source.list(prefix)]
    small = [info for info in small if info.key != twin_key(CONFIG_KEY)]
    small += [ObjectInfo(key, len(config)) for key in (twin_key(CONFIG_KEY), CONFIG_KEY)]
    packs = [info for info in copy.source.list(_PACKS) if PACK_KEY.fullmatch(info.key)]
    there = {info.key: info.size_bytes for info in copy.target.list("")}
    missing = [info for info in packs if there.get(info.key) != info.size_bytes]
    _copy_damage(copy, {info.key for info in missing})
    damaged = list(_copy_packs(copy, missing))
    copied = [info for info in missing if info.key not in damaged]
    groups = [[info for info in small if _rank(info.key) == rank] for rank in range(len(_SMALL))]
    for group in groups:
        for info in group:
            done = _copy_small(copy, info, there)
            copied += [info] if done is _Done.COPIED else []
            damaged += [info.key] if done is _Done.DAMAGED else []
    _drop_older_rings(copy)
    return MirrorReport(
        copied_objects=len(copied),
        copied_bytes=sum(info.size_bytes for info in copied),
        present_objects=len(packs) + sum(map(len, groups)) - len(copied) - len(damaged),
        damaged=tuple(damaged),
    )


def _require_same_repository(copy: Mirror) -> bytes:
    """The config of both; the target may have none yet."""
    try:
        config = get_either(copy.source, CONFIG_KEY, partial(_whole, CONFIG_KEY))
    except ObjectNotFound as error:
        raise RepositoryNotFound(copy.source_name) from error
    with suppress(ObjectNotFound, CorruptObject):  # put, or put anew
        if get_either(copy.target, CONFIG_KEY, partial(_whole, CONFIG_KEY)) != config:
            raise MirrorMismatch(copy.target_name, CONFIG_KEY)
    return config


def _copy_packs(copy: Mirror, packs: Sequence[ObjectInfo]) -> Iterator[str]:
    """Copies them; yields the keys of those that are damaged."""
    total_bytes = sum(info.size_bytes for info in packs)
    done_bytes = 0
    for info, is_whole in _side_by_side(packs, lambda info: _copy_pack(copy, info.key)):
        if copy.cancelled():
            raise OperationCancelled(f"the copy to {copy.target_name}")
        done_bytes += info.size_bytes
        copy.progress(Progress("copying packs", done_bytes, total_bytes))
        if not is_whole:
            yield info.key


def _copy_pack(copy: Mirror, key: str) -> bool:
    if copy.cancelled():
        return True  # the caller sees it too
    data = copy.source.get(key)
    if blake3(memoryview(data)[:-_CHECK_SIZE]).digest() != data[-_CHECK_SIZE:]:
        return False
    try:
        copy.target.put(key, [data])
    except ObjectExists:  # packs never change: the target's is damaged
        copy.target.replace(key, data)
    return True


def _copy_damage(copy: Mirror, keys: AbstractSet[str]) -> None:
    """What is known of the packs of these keys goes along with them.

    A pack that is at the target already may be whole there, so each store has records of its own.
    """
    known, at_source = known_damage(copy.target), known_damage(copy.source)
    present = {each for each in at_source.packs if pack_key(each) not in keys}
    more = known.union(at_source.without(present))
    if more != known:
        keep_damage(copy.target, more, copy.clock())


def _copy_small(copy: Mirror, info: ObjectInfo, there: Mapping[str, int]) -> _Done:
    """Copies it unless it is there.

    A void is shorter than any manifest, so one that took its place has another size.
    """
    if there.get(info.key) == info.size_bytes and not _COMPARED.fullmatch(info.key):
        return _Done.PRESENT
    if copy.cancelled():
        raise OperationCancelled(f"the copy to {copy.target_name}")
    try:
        data = _source_bytes(copy, info.key)
    except CorruptObject:
        return _Done.DAMAGED
    if info.key not in there:
        _put(copy, info.key, data)
        return _Done.COPIED
    found = copy.target.get(info.key)
    if found == data:
        return _Done.PRESENT
    is_void = text_object.magic_of(data) == text_object.VOID_MAGIC
    if not is_void and _is_whole(info.key, found):
        raise MirrorMismatch(copy.target_name, info.key)
    copy.target.replace(info.key, data)
    return _Done.COPIED


def _source_bytes(copy: Mirror, key: str) -> bytes:
    """The object, or what is whole of it and its twin.  Raises `CorruptObject`."""
    check = partial(_whole, key)
    if key.startswith(TWINS):
        try:
            return check(copy.source.get(key))
        except (CorruptObject, ObjectNotFound):
            return check(copy.source.get(key.removeprefix(TWINS)))
    return get_either(copy.source, key, check)


def _whole(key: str, data: bytes) -> bytes:
    if not _is_whole(key, data):
        raise CorruptObject(key, "what was written", "damage")
    return data


def _is_whole(key: str, data: bytes) -> bool:
    """As far as that can be told; what is not of this format is taken as it is."""
    return not _OURS.fullmatch(key) or text_object.seems_whole(data)


def _drop_older_rings(copy: Mirror) -> None:
    """What a key opened that was given up: the source dropped it when it was."""
    kept = keys_of_either(copy.source, KEY_RINGS)
    for key in keys_of_either(copy.target, KEY_RINGS) - kept:
        if any(each > key and each.rpartition("/")[0] == key.rpartition("/")[0] for each in kept):
            delete_both(copy.target, key)


def _put(copy: Mirror, key: str, data: bytes) -> None:
    try:
        copy.target.put(key, [data])
    except ObjectExists as error:
        raise MirrorMismatch(copy.target_name, key) from error


def _rank(key: str) -> int | None:
    return next((rank for rank, form in enumerate(_SMALL) if form.fullmatch(key)), None)


def _side_by_side(
    packs: Iterable[ObjectInfo], do: Callable[[ObjectInfo], bool]
) -> Iterator[tuple[ObjectInfo, bool]]:
    """(pack, result) in order, so many at once as there are threads."""
    pending: deque[tuple[ObjectInfo, Future[bool]]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="mirror") as pool:
        for info in packs:
            if len(pending) == THREADS:
                first, future = pending.popleft()
                yield first, future.result()
            pending.append((info, pool.submit(do, info)))
        for each, future in pending:
            yield each, future.result()
