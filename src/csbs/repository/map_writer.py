"""Writes the map of one image, from the parent's map and what changed; streaming, bottom-up.

Positions ascend, so one path from the root to a leaf is open at any time.  A node that the writer
leaves is *closed*: one that equals what the parent has there keeps the parent's address, a uniform
one becomes a state of its parent, any other is emitted and named by its parent.

    level 2                 [ . . o . . ]            o  open, on the path
    level 1                  ...[ s s n n o - - ]    s  shared with the parent image
    level 0                          ...[ n n | ]    n  new, closed; its address is known
                                              ^ position
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from csbs.domain.extents import block_count
from csbs.repository.manifest import Image
from csbs.repository.map_reader import Entry, MapReader, entry_of, stored_entries
from csbs.repository.node import (
    FANOUT,
    HOLE,
    I32,
    STORED,
    U8,
    U16,
    ZERO,
    Address,
    Node,
    blocks_below,
    root_level,
    uniform_allocation,
)

#: A state of no node: the entry stays as it is.
KEEP: Final = 255

Emit = Callable[[Node], Address]


@dataclass(slots=True)
class _Open:
    """A node on the path: `index` counts the nodes of its level from the left.

    `original` is what the parent image has there; None where it has no such node to share.
    """

    index: int
    node: Node
    original: Node | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenMap:
    """What became of the map; `root` is None where all is hole."""

    level: int
    root: Address | None
    nonzero_blocks: int
    changed_blocks: int


class MapWriter:
    """Writes one map; `emit` takes each new node, children before parents.

    Calls come in the order of positions, and each position at most once.
    """

    def __init__(self, size_bytes: int, parent: Image | None, maps: MapReader, emit: Emit) -> None:
        """Begins with the parent's map, grown or cut to `size_bytes`.

        Raises `MissingPack` or `CorruptObject` where nodes of the parent that must be changed
        cannot be read; so do all other methods.
        """
        self._block_count = block_count(size_bytes)
        self._level = root_level(self._block_count)
        self._maps = maps
        self._emit = emit
        self._position = 0
        self._changed_blocks = 0
        self._nonzero_blocks = 0
        self._parent_block_count = 0
        self._root = Entry(HOLE)
        self._path: list[_Open | None] = [None] * (self._level + 1)
        if parent is None or parent.root is None:
            self._path[self._level] = _Open(0, Node.uniform(self._level, HOLE), None)
        else:
            self._nonzero_blocks = parent.nonzero_blocks
            self._parent_block_count = block_count(parent.size_bytes)
            self._adopt(parent.level, maps.root(parent))

    @property
    def position(self) -> int:
        """The first block that may still be placed."""
        return self._position

    def place(self, first_block: int, states: U8, packs: I32, slots: U16) -> None:
        """Sets the entries from `first_block` on; those whose state is `KEEP` stay as they are.

        `packs` and `slots` are 0 where the state is not `STORED`.
        """
        end_block = first_block + len(states)
        self._advance(first_block, end_block)
        done = 0
        while done < len(states):
            block = first_block + done
            start = block % FANOUT
            count = min(FANOUT - start, len(states) - done)
            piece = slice(done, done + count)
            set_ = states[piece] != KEEP
            if bool(set_.any()):
                node = self._open_to(0, block).node
                node.states[start : start + count][set_] = states[piece][set_]
                node.packs[start : start + count][set_] = packs[piece][set_]
                node.slots[start : start + count][set_] = slots[piece][set_]
            done += count

    def fill(self, first_block: int, end_block: int, state: int) -> None:
        """Makes all of the range a hole, or zero; whole subtrees at once where it covers them."""
        assert state in (HOLE, ZERO), state
        self._advance(first_block, end_block)
        self._fill(first_block, end_block, state)

    def finish(self) -> WrittenMap:
        """Closes the map; nothing may be placed afterwards."""
        if self._parent_block_count > self._block_count:  # behind the end all is hole
            capacity = blocks_below(self._level + 1)
            self._fill(self._block_count, min(self._parent_block_count, capacity), HOLE)
        self._close_below(self._level)
        top = self._path[self._level]
        assert top is not None, "the root stays open until the end"
        self._path[self._level] = None
        return WrittenMap(
            level=self._level,
            root=self._closed_root(top),
            nonzero_blocks=self._nonzero_blocks,
            changed_blocks=self._changed_blocks,
        )

    # --- the parent's map, at the new size ---------------------------------------------------

    def _adopt(self, level: int, root: Entry) -> None:
        while level > self._level:  # the disk was cut: all but the first child is behind its end
            node = self._maps.node(level, root)
            level -= 1
            self._discard(level, node, 1, FANOUT)
            root = entry_of(node, 0)
        self._root = root
        if level < self._level:
            self._grow(level, root)
        elif root.state == STORED:
            self._path[level] = self._opened(level, 0, root)
        else:
            self._path[level] = _Open(0, Node.uniform(level, root.state), None)

    def _grow(self, level: int, root: Entry) -> None:
        """Opens the nodes above the old root, which are at no address yet."""
        old = self._maps.node(level, root)
        state = old.uniform_state()
        for above in range(level + 1, self._level + 1):
            self._path[above] = _Open(0, Node.uniform(above, HOLE), None)
        lowest = self._path[level + 1]
        assert lowest is not None, "opened just now"
        if state is None:
            _set_entry(lowest.node, 0, root, old.allocation_value())
        else:
            _set_entry(lowest.node, 0, Entry(state), uniform_allocation(level, state))

    # --- the path ----------------------------------------------------------------------------

    def _advance(self, first_block: int, end_block: int) -> None:
        assert self._position <= first_block <= end_block <= self._block_count, (
            self._position,
            first_block,
            end_block,
            self._block_count,
        )
        self._position = end_block

    def _open_to(self, level: int, block: int) -> _Open:
        """The open node of this level above `block`; nodes left behind are closed."""
        stale = -1
        for k in range(self._level):
            each = self._path[k]
            if each is not None and each.index != block // blocks_below(k + 1):
                stale = k
        self._close_below(stale + 1)
        for k in range(self._level - 1, level - 1, -1):
            if self._path[k] is None:
                above = self._path[k + 1]
                assert above is not None, "opened from the root downwards"
                index = block // blocks_below(k + 1)
                self._path[k] = self._opened(k, index, entry_of(above.node, index % FANOUT))
        found = self._path[level]
        assert found is not None, "opened just now"
        return found

    def _opened(self, level: int, index: int, entry: Entry) -> _Open:
        original = self._maps.node(level, entry)
        return _Open(index, _copy(original), original)

    def _close_below(self, level: int) -> None:
        for k in range(level):
            closed = self._path[k]
            if closed is None:
                continue
            self._path[k] = None
            above = self._path[k + 1]
            assert above is not None, "a path has no gaps"
            self._close(k, closed, above.node)

    def _close(self, level: int, closed: _Open, above: Node) -> None:
        node = closed.node
        if level == 0:
            self._count_leaf(closed)
        if closed.original is not None and _equal(node, closed.original):
            return  # the entry above still says what is there
        state = node.uniform_state()
        if state is None:
            entry, allocation = self._emitted(node), node.allocation_value()
        else:
            entry, allocation = Entry(state), uniform_allocation(level, state)
        _set_entry(above, closed.index % FANOUT, entry, allocation)

    def _closed_root(self, top: _Open) -> Address | None:
        if self._level == 0:
            self._count_leaf(top)
        if top.original is not None and _equal(top.node, top.original):
            return self._maps.address(self._root)
        if top.node.uniform_state() == HOLE:
            return None
        return self._maps.address(self._emitted(top.node))

    def _emitted(self, node: Node) -> Entry:
        address = self._emit(node)
        return Entry(STORED, self._maps.table.number(address.pack_id), address.slot)

    # --- filling and counting ----------------------------------------------------------------

    def _fill(self, first_block: int, end_block: int, state: int) -> None:
        block = first_block
        while block < end_block:
            level = self._level_of_piece(block, end_block)
            below = blocks_below(level)
            start = block // below % FANOUT
            count = min(FANOUT - start, (end_block - block) // below)
            node = self._open_to(level, block).node
            self._drop_grown(level, block, block + count * below)
            self._close_below(level)
            if level > 0:
                self._discard(level - 1, node, start, start + count)
            _set_uniform(node, start, start + count, state)
            block += count * below

    def _drop_grown(self, level: int, block: int, end_block: int) -> None:
        """Forgets open nodes that the fill covers: at its start only `_grow` left any.

        Closing them would emit what nothing names, and what is below could not be counted, as
        their pack is not put yet.
        """
        for k in range(1, level):
            each = self._path[k]
            if each is not None and block <= each.index * blocks_below(k + 1) < end_block:
                assert each.original is None, "nothing was placed behind the position"
                self._discard(k - 1, each.node, 0, FANOUT)
                self._path[k] = None

    def _level_of_piece(self, block: int, end_block: int) -> int:
        """The highest level one of whose entries begins at `block` and lies within the range."""
        level = 0
        while level < self._level:
            below = blocks_below(level + 1)
            if block % below or block + below > end_block:
                break
            level += 1
        return level

    def _discard(self, level: int, node: Node, start: int, end: int) -> None:
        """Takes the subtrees of these entries, of this level, out of the count."""
        for entry in stored_entries(node, start, end):
            self._nonzero_blocks -= self._maps.count_stored(level, entry)

    def _count_leaf(self, leaf: _Open) -> None:
        new, old = leaf.node, leaf.original
        stored = new.states == STORED
        if old is None:
            self._nonzero_blocks += int(stored.sum())
            self._changed_blocks += int(stored.sum())
            return
        was_stored = old.states == STORED
        same = was_stored & (old.packs == new.packs) & (old.slots == new.slots)
        self._nonzero_blocks += int(stored.sum()) - int(was_stored.sum())
        self._changed_blocks += int((stored & ~same).sum())


def _copy(node: Node) -> Node:
    allocation = None if node.allocation is None else node.allocation.copy()
    return Node(node.level, node.states.copy(), node.packs.copy(), node.slots.copy(), allocation)


def _equal(one: Node, other: Node) -> bool:
    if not (
        np.array_equal(one.states, other.states)
        and np.array_equal(one.packs, other.packs)
        and np.array_equal(one.slots, other.slots)
    ):
        return False
    if one.allocation is None or other.allocation is None:
        return one.allocation is other.allocation
    return np.array_equal(one.allocation, other.allocation)


def _set_entry(node: Node, index: int, entry: Entry, allocation: int) -> None:
    assert node.allocation is not None, "only inner nodes have nodes below"
    node.states[index] = entry.state
    node.packs[index] = entry.pack
    node.slots[index] = entry.slot
    node.allocation[index] = allocation


def _set_uniform(node: Node, start: int, end: int, state: int) -> None:
    node.states[start:end] = state
    node.packs[start:end] = 0
    node.slots[start:end] = 0
    if node.allocation is not None:
        node.allocation[start:end] = uniform_allocation(node.level - 1, state)
