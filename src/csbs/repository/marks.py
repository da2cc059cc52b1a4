"""Which slots of which packs images name: one bit for each, each map node looked at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.manifest import Image
from csbs.repository.manifest_store import go_on
from csbs.repository.map_reader import MapReader
from csbs.repository.node import I32, STORED, U16, Flags, PackTable
from csbs.repository.pack import Kind
from csbs.repository.pack_reader import PackReader
from csbs.repository.slot_bits import SlotBits

log = logging.getLogger(__name__)


def named_blocks(
    packs: PackReader, images: Iterable[Image]
) -> Iterator[tuple[bytes, list[tuple[int, bytes]]]]:
    """Slots and digests of all blocks that the images name, by pack.

    Damaged maps and packs are left out, as far as they cannot be read.
    """
    marks = Marks(packs)
    for image in images:
        try:
            marks.add(image)
        except (MissingPack, CorruptObject) as error:
            log.warning("a map is damaged", extra={"disk_id": image.id, "why": str(error)})
    for pack_id in marks.pack_ids():
        try:
            footer = packs.footer(pack_id)
        except (MissingPack, CorruptObject):
            continue  # verification finds and names damage
        marked = marks.of(pack_id)[footer.slots] & (footer.kinds == Kind.BLOCK)
        positions = [int(position) for position in np.flatnonzero(marked)]
        if positions:
            yield pack_id, [(int(footer.slots[i]), footer.digest(i)) for i in positions]


class Marks:
    """One bit for each slot that a live image names, nodes and blocks alike."""

    def __init__(self, packs: PackReader, check: Callable[[], None] = go_on) -> None:
        """`check` is called before each part of a map is read; what it raises ends `add`.

        Then nothing may be concluded from the marks: parts that are marked were not looked into.
        """
        self._check = check
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

    def pack_ids(self) -> list[bytes]:
        """All packs that images name, or that a node lists beside others."""
        return self._table.all_ids()

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
        self._check()
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
