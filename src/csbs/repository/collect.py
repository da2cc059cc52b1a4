"""Collection: frees the space of packs that no live backup names.

    1  purge    end tombstones, void their manifests          deleted backups can never come back
    2  list     all packs there are, and only then look who the owner is
    3  mark     from the root of each live image, each node once
    4  forget   packs without a mark leave the content index
    5  delete   those packs

The caller holds the exclusive lock, so no pack is being written and no parent is in use.  A crash
anywhere leaves only work for the next collection, and so does an end by `check`.  If a live map
cannot be read, nothing is deleted: what it names is not known.

Another catalog may take the repository over meanwhile.  Packs of its writers are put after its
number, so the listing, which was complete before we looked, has none of them; and it takes blocks
only of backups that counted then, which are marked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from csbs.repository.content_index import ContentIndex
from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.manifest import Image
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.marks import Marks
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore
from csbs.repository.pack import PACK_KEY
from csbs.repository.pack_reader import PackReader


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectProgress:
    """How far a phase (`mark`, `delete`) has come, in its own units."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What a collection freed, and what is left.

    `dead_bytes` is what unmarked frames take in packs that are kept.
    """

    backups_purged: int
    packs_deleted: int
    freed_bytes: int
    kept_packs: int
    kept_bytes: int
    dead_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectParts:
    """What a collection works with."""

    store: ObjectStore
    packs: PackReader
    manifests: ManifestStore
    index: ContentIndex
    #: Raises `RepositoryOwned` if another catalog has taken over.
    require_owner: Callable[[], None]
    progress: Callable[[CollectProgress], None]
    #: Called all the time; what it raises ends the collection.
    check: Callable[[], None]


def collect(parts: CollectParts) -> CollectReport:
    """Runs one collection.

    Raises `RepositoryOwned`, `MissingPack`, `CorruptObject`, what the store raises, and what
    `check` does.
    """
    parts.check()
    parts.store.clear_leftovers()
    purged = parts.manifests.purge(parts.check)
    listed = dict(_listed(parts))
    parts.require_owner()
    images = list(_live_images(parts))
    marks = Marks(parts.packs, parts.check)
    for done, image in enumerate(images):
        parts.progress(CollectProgress(phase="mark", done=done, total=len(images)))
        marks.add(image)
    dead = {pack_id: each for pack_id, each in listed.items() if not marks.has(pack_id)}
    parts.index.drop_packs(dead)
    parts.packs.forget(dead)
    _delete(parts, list(dead.values()))
    kept = {pack_id: each for pack_id, each in listed.items() if pack_id not in dead}
    return CollectReport(
        backups_purged=purged,
        packs_deleted=len(dead),
        freed_bytes=sum(each.size_bytes for each in dead.values()),
        kept_packs=len(kept),
        kept_bytes=sum(each.size_bytes for each in kept.values()),
        dead_bytes=sum(_dead_bytes(parts, marks, pack_id) for pack_id in kept),
    )


def _live_images(parts: CollectParts) -> Iterator[Image]:
    for manifest in parts.manifests.live(parts.check):
        yield from manifest.images


def _listed(parts: CollectParts) -> Iterator[tuple[bytes, ObjectInfo]]:
    for each in parts.store.list("packs/"):
        parts.check()
        match = PACK_KEY.fullmatch(each.key)
        if match:
            yield bytes.fromhex(match[2]), each


def _delete(parts: CollectParts, dead: Sequence[ObjectInfo]) -> None:
    for done, each in enumerate(dead):
        parts.progress(CollectProgress(phase="delete", done=done, total=len(dead)))
        parts.check()
        parts.require_owner()
        parts.store.delete(each.key)


def _dead_bytes(parts: CollectParts, marks: Marks, pack_id: bytes) -> int:
    parts.check()
    try:
        footer = parts.packs.footer(pack_id)
    except (MissingPack, CorruptObject):
        return 0  # an estimate; verification finds and names damage
    marked = marks.of(pack_id)[footer.slots]
    return int(footer.sizes[~marked].sum())
