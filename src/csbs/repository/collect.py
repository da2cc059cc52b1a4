"""Collection: frees the space of packs that no live backup names.

    1  purge    end tombstones, void their manifests          deleted backups can never come back
    2  list     all packs there are
    3  mark     from the root of each live image, each node once
    4  forget   packs without a mark leave the content index
    5  delete   those packs

The caller holds the exclusive lock, so no pack is being written and no parent is in use.  A crash
anywhere leaves only work for the next collection.  If a live map cannot be read, nothing is
deleted: what it names is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from csbs.repository.content_index import ContentIndex
from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.manifest import Image
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.map_reader import MapReader
from csbs.repository.node import I32, STORED, U16, Flags, PackTable
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore
from csbs.repository.pack import PACK_KEY
from csbs.repository.pack_reader import PackReader
from csbs.repository.slot_bits import SlotBits


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
    progress: Callable[[CollectProgress], None]


def collect(parts: CollectParts) -> CollectReport:
    """Runs one collection.  Raises `MissingPack`, `CorruptObject`, and what the store raises."""
    parts.store.clear_leftovers()
    purged = parts.manifests.purge()
    listed = {
        bytes.fromhex(match[2]): each
        for each in parts.store.list("packs/")
        if (match := PACK_KEY.fullmatch(each.key))
    }
    images = [image for manifest in parts.manifests.live() for image in manifest.images]
    marks = _Marks(parts.packs)
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
        dead_bytes=sum(_dead_bytes(parts.packs, marks, pack_id) for pack_id in kept),
    )


def _delete(parts: CollectParts, dead: Sequence[ObjectInfo]) -> None:
    for done, each in enumerate(dead):
        parts.progress(CollectProgress(phase="delete", done=done, total=len(dead)))
        parts.store.delete(each.key)


def _dead_bytes(packs: PackReader, marks: _Marks, pack_id: bytes) -> int:
    try:
        footer = packs.footer(pack_id)
    except (MissingPack, CorruptObject):
        return 0  # an estimate; verification finds and names damage
    marked = marks.of(pack_id)[footer.slots]
    return int(footer.sizes[~marked].sum())


class _Marks:
    """One bit for each slot that a live image names, nodes and blocks alike."""

    def __init__(self, packs: PackReader) -> None:
        self._table = PackTable()
        self._maps = MapReader(packs, self._table)
        self._bits = SlotBits()

    def add(self, image: Image) -> None:
        """Marks all that the image names."""
        root = self._maps.root(image)
        if root.state != STORED:
            return
        packs, slots = np.array([root.pack], np.int32), np.array([root.slot], np.uint16)
        self._mark(image.level + 1, packs, slots)

    def has(self, pack_id: bytes) -> bool:
        """Whether any slot of the pack is marked."""
        return bool(self.of(pack_id).any())

    def of(self, pack_id: bytes) -> Flags:
        """For each possible slot of the pack whether it is marked."""
        return self._bits.of(self._table.number(pack_id))

    def _mark(self, level: int, packs: I32, slots: U16) -> None:
        """Marks what nodes of this level name, and all that is below."""
        if level == 0:
            self._bits.add(packs, slots)
            return
        new = ~self._bits.has(packs, slots)
        self._bits.add(packs, slots)
        below = self._maps.named(level - 1, packs[new], slots[new])  # others were walked before
        if level > 1:
            for node in below:
                self._mark(level - 1, node.packs, node.slots)
        else:  # leaves together: 512 of them are 262,144 addresses, 1.5 MB
            leaves = list(below)
            if leaves:
                packs = np.concatenate([leaf.packs for leaf in leaves])
                self._mark(0, packs, np.concatenate([leaf.slots for leaf in leaves]))
