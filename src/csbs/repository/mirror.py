"""Copies a repository to another store, object by object, without keys.

1 list      manifests and all else that is small, at the source: what is to be copied
2 packs     listed only then, so they have all that those manifests name; copied side by side
3 owners, keys ...; and what is known of damage joins what is known of it at the target
4 tombstones, before the manifests that they end
5 manifests and voids
6 config    at the end: without it nobody takes the target for a repository

Objects never change once they are written (a manifest may become a void), so what is at the target
with the same size need not be copied again.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from blake3 import blake3

from csbs.domain.clock import Clock, utc_now
from csbs.domain.errors import Corrupt, OperationCancelled, Refused
from csbs.domain.task import Progress
from csbs.repository import text_object
from csbs.repository.damage import keep_damage, known_damage
from csbs.repository.errors import ObjectExists, ObjectNotFound, RepositoryNotFound
from csbs.repository.identity import CONFIG_KEY
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore

#: A pack is held in memory on its way; so many at once keep two networks busy.
THREADS = 3

_PACKS = "packs/"
_PACK_KEY = re.compile(r"packs/[0-9a-f]{2}/[0-9a-f]{32}")
_CHECK_SIZE = 32
#: Prefixes of the format, in the order of their copies.  `objects/` has packs too, once it is used.
_SMALL = (
    re.compile(r"(owners|keys|relocations|condemned|replicas)/.+"),
    re.compile(r"manifests/.+\.tombstone-.+"),
    re.compile(r"manifests/.+"),
    re.compile(CONFIG_KEY),
)
_SMALL_PREFIXES = (
    *("owners/", "keys/", "relocations/", "condemned/", "replicas/"),
    "manifests/",
)


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
    """All was copied but packs that are damaged at the source."""

    repository: str
    keys: tuple[str, ...]

    @property
    def _keys(self) -> str:
        return ", ".join(self.keys)

    template = (
        "packs of the repository at {0.repository} are damaged and were not copied: {0._keys}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """What a copy did."""

    copied_objects: int
    copied_bytes: int
    #: Were there already.
    present_objects: int
    #: Keys of packs whose bytes are not what was written; they were left out.
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
    each whole.  Nothing is ever removed from the target but manifests that became void, and what
    was known of damage when more is; what its backups do not need any more is freed by a collection
    there.

    Raises `RepositoryNotFound` if the source holds no repository, `MirrorMismatch`,
    `OperationCancelled`, and what the stores raise.
    """
    _require_same_repository(copy)
    small = [info for prefix in _SMALL_PREFIXES for info in copy.source.list(prefix)]
    small.append(ObjectInfo(CONFIG_KEY, copy.source.size(CONFIG_KEY)))
    packs = [info for info in copy.source.list(_PACKS) if _PACK_KEY.fullmatch(info.key)]
    there = {info.key: info.size_bytes for info in copy.target.list("")}
    missing = [info for info in packs if there.get(info.key) != info.size_bytes]
    damaged = tuple(_copy_packs(copy, missing))
    copied = [info for info in missing if info.key not in damaged]
    _copy_damage(copy)
    groups = [[info for info in small if _rank(info.key) == rank] for rank in range(len(_SMALL))]
    for group in groups:
        copied += _copy_small(copy, group, there)
    return MirrorReport(
        copied_objects=len(copied),
        copied_bytes=sum(info.size_bytes for info in copied),
        present_objects=len(packs) + sum(map(len, groups)) - len(copied) - len(damaged),
        damaged=damaged,
    )


def _require_same_repository(copy: Mirror) -> None:
    try:
        config = copy.source.get(CONFIG_KEY)
    except ObjectNotFound as error:
        raise RepositoryNotFound(copy.source_name) from error
    try:
        found = copy.target.get(CONFIG_KEY)
    except ObjectNotFound:
        return
    if found != config:
        raise MirrorMismatch(copy.target_name, CONFIG_KEY)


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
    _put(copy, key, data)
    return True


def _copy_damage(copy: Mirror) -> None:
    """Each store has records of its own, since each was verified on its own."""
    known = known_damage(copy.target)
    more = known.union(known_damage(copy.source))
    if more != known:
        keep_damage(copy.target, more, copy.clock())


def _copy_small(
    copy: Mirror, group: Iterable[ObjectInfo], there: Mapping[str, int]
) -> list[ObjectInfo]:
    # A void is shorter than any manifest, so one that took its place has another size.
    missing = [info for info in group if there.get(info.key) != info.size_bytes]
    for info in missing:
        if copy.cancelled():
            raise OperationCancelled(f"the copy to {copy.target_name}")
        data = copy.source.get(info.key)
        if info.key in there and text_object.magic_of(data) == text_object.VOID_MAGIC:
            copy.target.replace(info.key, data)
        else:
            _put(copy, info.key, data)
    return missing


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
