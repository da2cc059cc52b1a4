"""Reads maps: nodes by address, and walks that load only what they must."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from csbs.domain.errors import Corrupt
from csbs.repository.errors import CorruptObject
from csbs.repository.loss import Loss, OnLoss
from csbs.repository.manifest import Image
from csbs.repository.node import (
    FANOUT,
    HOLE,
    I32,
    STORED,
    U8,
    U16,
    ZERO,
    Address,
    Flags,
    Named,
    Node,
    PackTable,
    blocks_below,
    decode_named,
    decode_node,
    leaf_allocation,
)
from csbs.repository.pack import Kind, pack_key
from csbs.repository.pack_reader import PackReader
from csbs.repository.slot_bits import require_slots

#: A node is 6 kB; the inner ones on the path, and the leaves of the batches in flight.
NODES_MAX = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """What a node says of one child; `pack` is a number of the reader's table."""

    state: int
    pack: int = 0
    slot: int = 0


HOLE_ENTRY = Entry(HOLE)
_ZERO_ENTRY = Entry(ZERO)


class Entries(NamedTuple):
    """Entries of neighbouring blocks, as columns; see `Node`."""

    states: U8
    packs: I32
    slots: U16


class MapReader:
    """Nodes of maps, their pack ids as numbers of `table`; for one thread at a time.

    With `nodes_max` so many nodes are kept, and nobody may change one that he got.  With `on_loss`
    a walk over leaves tells of nodes that cannot be read, and goes on as if they said zero.
    """

    def __init__(
        self,
        packs: PackReader,
        table: PackTable,
        *,
        nodes_max: int = 0,
        on_loss: OnLoss | None = None,
    ) -> None:
        self._packs = packs
        self._on_loss = on_loss
        self.table = table
        self._kept: OrderedDict[Entry, Node] = OrderedDict()
        self._nodes_max = nodes_max

    def root(self, image: Image) -> Entry:
        """The image's root as an entry, as if a node above it named it."""
        if image.root is None:
            return HOLE_ENTRY
        return Entry(STORED, self.table.number(image.root.pack_id), image.root.slot)

    def address(self, entry: Entry) -> Address:
        """Where the node or block of this (stored) entry is."""
        return Address(self.table.pack_id(entry.pack), entry.slot)

    def node(self, level: int, entry: Entry) -> Node:
        """The node of this level that `entry` stands for; made up where it is not stored.

        Raises `MissingPack`, `CorruptObject`.
        """
        if entry.state != STORED:
            return Node.uniform(level, entry.state)
        node = self._kept.get(entry)
        if node is None or node.level != level:
            node = self._loaded(level, entry)
            if self._nodes_max:
                self._kept[entry] = node
                if len(self._kept) > self._nodes_max:
                    self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(entry)
        return node

    def _loaded(self, level: int, entry: Entry) -> Node:
        return self._decoded(level, entry, self._packs.frame(self.address(entry), Kind.NODE))

    def _decoded(self, level: int, entry: Entry, data: bytes) -> Node:
        address = self.address(entry)
        name = f"{pack_key(address.pack_id)} slot {address.slot}"
        node = decode_node(name, data, self.table)
        if node.level != level:
            raise CorruptObject(name, f"a node of level {level}", f"one of level {node.level}")
        return node

    def named(self, level: int, packs: I32, slots: U16) -> Iterator[Named]:
        """What the (stored) nodes of this level name that are there; in the order of addresses.

        Nodes that lie side by side, as one backup wrote them, come by one read.
        Raises `MissingPack`, `CorruptObject`.
        """
        for number, wanted in _by_pack(packs, slots):
            pack_id = self.table.pack_id(number)
            plain = self._packs.frames_of(pack_id, wanted, Kind.NODE)
            for slot, data in zip(wanted, plain, strict=True):
                name = f"{pack_key(pack_id)} slot {slot}"
                named = decode_named(name, data, self.table)
                if named.level != level:
                    raise CorruptObject(
                        name, f"a node of level {level}", f"one of level {named.level}"
                    )
                yield named

    def nodes(self, level: int, packs: I32, slots: U16) -> Iterator[tuple[Entry, Node | Corrupt]]:
        """The (stored) nodes of this level in the order of addresses, each or why it is lost.

        Nodes that lie side by side come by one read, as long as all of them are whole.
        """
        for number, wanted in _by_pack(packs, slots):
            entries = [Entry(STORED, number, slot) for slot in wanted]
            try:
                plain = list(self._packs.frames_of(self.table.pack_id(number), wanted, Kind.NODE))
            except Corrupt:
                yield from ((entry, self._loaded_or_why(level, entry)) for entry in entries)
                continue
            for entry, data in zip(entries, plain, strict=True):
                yield entry, self._loaded_or_why(level, entry, data)

    def _loaded_or_why(self, level: int, entry: Entry, data: bytes | None = None) -> Node | Corrupt:
        try:
            if data is None:
                data = self._packs.frame(self.address(entry), Kind.NODE)
            node = self._decoded(level, entry, data)
            require_slots("a map node", node.slots)
        except Corrupt as error:
            return error
        return node

    def count_stored(self, level: int, entry: Entry) -> int:
        """Number of stored blocks below an entry for a node of this level."""
        if entry.state != STORED:
            return 0
        node = self.node(level, entry)
        if level == 0:
            return int((node.states == STORED).sum())
        return sum(self.count_stored(level - 1, child) for child in stored_entries(node))

    def leaves(
        self, level: int, entry: Entry, first_block: int, end_block: int
    ) -> Iterator[tuple[int, int, Entry | Node]]:
        """What lies below, in order: (first, end, leaf), or (first, end, entry) where it is alike.

        Only what overlaps the range of blocks is loaded; pieces are not cut to the range.
        Neighbouring children that are uniform alike come as one piece.
        """
        yield from self._leaves(level, entry, 0, (first_block, end_block))

    def _leaves(
        self, level: int, entry: Entry, base: int, wanted: tuple[int, int]
    ) -> Iterator[tuple[int, int, Entry | Node]]:
        span = blocks_below(level + 1)
        if base >= wanted[1] or base + span <= wanted[0]:
            return
        if entry.state != STORED:
            yield base, base + span, entry
            return
        try:
            node = self.node(level, entry)
        except Corrupt as error:
            if self._on_loss is None:
                raise
            address = self.address(entry)
            self._on_loss(
                Loss(
                    first_block=max(base, wanted[0]),
                    end_block=min(base + span, wanted[1]),
                    pack_id=address.pack_id,
                    slot=address.slot if self._packs.has_footer(address.pack_id) else None,
                    why=error,
                )
            )
            yield base, base + span, _ZERO_ENTRY
            return
        if level == 0:
            yield base, base + FANOUT, node
            return
        below = blocks_below(level)
        low = max((wanted[0] - base) // below, 0)
        high = min(-(-(wanted[1] - base) // below), FANOUT)
        for first, last in runs_of(node.states[low:high]):
            start, end = low + first, low + last
            if node.states[start] != STORED:
                yield base + start * below, base + end * below, Entry(int(node.states[start]))
                continue
            for index in range(start, end):
                child = entry_of(node, index)
                yield from self._leaves(level - 1, child, base + index * below, wanted)


class ParentBlocks:
    """Looks up the addresses that a parent image has; for several threads."""

    def __init__(self, packs: PackReader, image: Image) -> None:
        self._reader = MapReader(packs, PackTable())
        self._image = image
        self._nodes: OrderedDict[tuple[int, int], Node] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self, first_block: int, count: int) -> Entries:
        """What the parent has of these blocks, each an entry in three columns.

        Raises `MissingPack`, `CorruptObject`.
        """
        end = first_block + count
        with self._lock:
            parts = [
                _cut(self._node(0, leaf), first_block - leaf * FANOUT, end - leaf * FANOUT)
                for leaf in range(first_block // FANOUT, (end - 1) // FANOUT + 1)
            ]
        return (
            parts[0] if len(parts) == 1 else Entries(*map(np.concatenate, zip(*parts, strict=True)))
        )

    def pack_id(self, number: int) -> bytes:
        """The pack that an entry names."""
        return self._reader.table.pack_id(number)

    def allocation_differs(self, leaf: int, allocated: Flags) -> Flags | None:
        """Which blocks of a leaf are not allocated as in the parent; None: all are as there.

        `allocated` has an entry for each of the leaf's blocks.  The leaf is loaded only if the
        digest of its allocation, which the node above has, is another.  Raises `MissingPack`,
        `CorruptObject`.
        """
        with self._lock:
            if self._image.level > 0:
                above = self._node(1, leaf // FANOUT).allocation
                assert above is not None, "inner nodes have allocation values"
                if above[leaf % FANOUT] == leaf_allocation(allocated):
                    return None
            differs = allocated != (self._node(0, leaf).states != HOLE)
        return differs if bool(differs.any()) else None

    def _node(self, level: int, number: int) -> Node:
        """The node of this level with this number, counted from the left."""
        node = self._nodes.get((level, number))
        if node is not None:
            self._nodes.move_to_end((level, number))
            return node
        if level < self._image.level:
            entry = entry_of(self._node(level + 1, number // FANOUT), number % FANOUT)
        else:  # what lies beside the root is behind the end of the parent
            entry = HOLE_ENTRY if number else self._reader.root(self._image)
        node = self._reader.node(level, entry)
        self._nodes[level, number] = node
        if len(self._nodes) > NODES_MAX:
            self._nodes.popitem(last=False)
        return node


def _by_pack(packs: I32, slots: U16) -> Iterator[tuple[int, list[int]]]:
    """The addresses by pack, each once, ascending."""
    for number in np.unique(packs):
        yield int(number), np.unique(slots[packs == number]).tolist()


def _cut(leaf: Node, start: int, end: int) -> Entries:
    """The entries from `start` to before `end`, as far as they are the leaf's."""
    start, end = max(start, 0), min(end, FANOUT)
    return Entries(leaf.states[start:end], leaf.packs[start:end], leaf.slots[start:end])


def entry_of(node: Node, index: int) -> Entry:
    """One entry of a node."""
    return Entry(int(node.states[index]), int(node.packs[index]), int(node.slots[index]))


def stored_entries(node: Node, start: int = 0, end: int = FANOUT) -> list[Entry]:
    """The stored entries of a node, of those from `start` to before `end`."""
    stored = np.flatnonzero(node.states[start:end] == STORED)
    return [entry_of(node, start + int(index)) for index in stored]


def runs_of(states: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Iterator[tuple[int, int]]:
    """Half-open ranges of neighbours that are alike."""
    edges = np.flatnonzero(np.diff(states)) + 1
    bounds = [0, *(int(edge) for edge in edges), len(states)]
    yield from pairwise(bounds)
