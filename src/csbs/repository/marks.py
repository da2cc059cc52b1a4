"""Which slots of which packs images name: one bit for each, each map node looked at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.manifest import Image
from csbs.repository.map_reader import MapReader
from csbs.repository.node import I32, STORED, U16, PackTable
from csbs.repository.pack import SLOTS_MAX, Kind
from csbs.repository.pack_reader import PackReader

log = logging.getLogger(__name__)

_MARKS_SIZE = SLOTS_MAX // 8


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

    def __init__(self, packs: PackReader) -> None:
        self._table = PackTable()
        self._maps = MapReader(packs, self._table)
        self._bits = np.zeros((1024, _MARKS_SIZE), np.uint8)
        self._count = 0

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

    def of(self, pack_id: bytes) -> npt.NDArray[np.bool_]:
        """For each possible slot of the pack whether it is marked."""
        number = self._table.number(pack_id)
        self._reserve(number)
        return np.unpackbits(self._bits[number], bitorder="little").astype(np.bool_)

    def _mark(self, level: int, packs: I32, slots: U16) -> None:
        """Marks what nodes of this level name, and all that is below."""
        if not len(slots):
            return
        if int(slots.max()) >= SLOTS_MAX:
            raise CorruptObject("a map node", f"slots below {SLOTS_MAX}", str(int(slots.max())))
        self._reserve(int(packs.max()))
        places = packs, slots >> 3
        bits = np.left_shift(np.uint8(1), (slots & 7).astype(np.uint8))
        if level == 0:
            np.bitwise_or.at(self._bits, places, bits)
            return
        new = (self._bits[places] & bits) == 0
        np.bitwise_or.at(self._bits, places, bits)
        below = self._maps.named(level - 1, packs[new], slots[new])  # others were walked before
        if level > 1:
            for node in below:
                self._mark(level - 1, node.packs, node.slots)
        else:  # leaves together: 512 of them are 262,144 addresses, 1.5 MB
            leaves = list(below)
            if leaves:
                packs = np.concatenate([leaf.packs for leaf in leaves])
                self._mark(0, packs, np.concatenate([leaf.slots for leaf in leaves]))

    def _reserve(self, number: int) -> None:
        while number >= len(self._bits):
            self._bits = np.vstack((self._bits, np.zeros_like(self._bits)))
