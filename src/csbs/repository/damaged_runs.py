"""Which blocks of images are lost, from what is known to be damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from csbs.domain.errors import Corrupt
from csbs.domain.extents import block_count
from csbs.repository.damage import Damage
from csbs.repository.manifest import Image
from csbs.repository.map_reader import Entry, MapReader, entry_of, runs_of
from csbs.repository.node import DAMAGED, STORED, Node, PackTable, blocks_below
from csbs.repository.pack_reader import PackReader
from csbs.repository.slot_bits import SlotBits


class DamagedRuns:
    """Looks for lost blocks in several images.

    Nodes that images share are loaded once, but for those above something that is lost: so the
    cost follows the distinct nodes, and the damage.  Memory is two bits for each slot.
    """

    def __init__(self, packs: PackReader, damage: Damage) -> None:
        self._table = PackTable()
        self._maps = MapReader(packs, self._table)
        self._damaged = SlotBits()
        for pack_id, slots in damage.packs.items():
            number = self._table.number(pack_id)
            if slots is None:
                self._damaged.add_all(number)
            else:
                ordered = np.array(sorted(slots), np.uint16)
                self._damaged.add(np.full(len(ordered), number, np.int32), ordered)
        #: Nodes below which nothing is lost.
        self._whole = SlotBits()
        self._found = 0

    def of(self, image: Image) -> Iterator[tuple[int, int]]:
        """Half-open runs of lost blocks, ascending; neighbours may touch.

        What lies below a node that cannot be read is lost too.
        """
        root = self._maps.root(image)
        end_of_disk = block_count(image.size_bytes)
        if root.state == STORED:
            for first, end in self._walk(image.level, [(0, root)]):
                yield first, min(end, end_of_disk)

    def _walk(self, level: int, children: Sequence[tuple[int, Entry]]) -> Iterator[tuple[int, int]]:
        """Of nodes of this level, each with its first block."""
        packs = np.array([entry.pack for _, entry in children], np.int32)
        slots = np.array([entry.slot for _, entry in children], np.uint16)
        open_ = ~self._whole.has(packs, slots)
        nodes = dict(self._maps.nodes(level, packs[open_], slots[open_]))
        bad = self._damaged.has(packs, slots)
        for i in np.flatnonzero(open_).tolist():
            first, entry = children[i]
            node, before = nodes[entry], self._found
            if bad[i] or isinstance(node, Corrupt):
                self._found += 1
                yield first, first + blocks_below(level + 1)
            else:
                yield from self._below(node, first)
            if self._found == before:
                self._whole.add(packs[i : i + 1], slots[i : i + 1])

    def _below(self, node: Node, first: int) -> Iterator[tuple[int, int]]:
        stored = node.states == STORED
        if node.level:
            below = blocks_below(node.level)
            indexes = np.flatnonzero(stored).tolist()
            yield from self._walk(
                node.level - 1, [(first + i * below, entry_of(node, i)) for i in indexes]
            )
            return
        lost = node.states == DAMAGED
        lost[stored] = self._damaged.has(node.packs[stored], node.slots[stored])
        for start, end in runs_of(lost.view(np.uint8)):
            if lost[start]:
                self._found += 1
                yield first + start, first + end
