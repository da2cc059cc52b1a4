"""How much of an image is not shared with another, D(before, after), and where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from csbs.repository.manifest import Image
from csbs.repository.map_reader import Entry, MapReader, entry_of, runs_of, stored_entries
from csbs.repository.node import FANOUT, HOLE, STORED, Node, PackTable, blocks_below
from csbs.repository.pack_reader import PackReader


def difference(packs: PackReader, before: Image | None, after: Image) -> int:
    """Blocks stored in `after` whose address differs from `before`'s at that position.

    Without `before` all stored blocks.  Subtrees that both share are not loaded.
    Raises `MissingPack`, `CorruptObject`.
    """
    if before is None:
        return after.nonzero_blocks
    maps = MapReader(packs, PackTable())
    total = 0
    old, old_level = maps.root(before), before.level
    new, new_level = maps.root(after), after.level
    while new_level > old_level:  # behind the end of the smaller disk nothing is shared
        node = maps.node(new_level, new)
        new_level -= 1
        new = entry_of(node, 0)
        total += _stored_behind_first(maps, new_level, node.states, stored_entries(node))
    while old_level > new_level:
        old = entry_of(maps.node(old_level, old), 0)
        old_level -= 1
    return total + _difference(maps, new_level, old, new)


def differing_runs(packs: PackReader, before: Image, after: Image) -> Iterator[tuple[int, int]]:
    """Half-open runs of blocks, ascending, in which two images may differ.

    All others are the same bytes in both: the same address, or both hole, or both zero; behind the
    end of an image all is hole.  Subtrees that both share are not loaded.  Neighbouring runs may
    touch, and the last may reach beyond the larger disk.  Raises `MissingPack`, `CorruptObject`.
    """
    maps = MapReader(packs, PackTable())
    level = max(before.level, after.level)
    yield from _differing(maps, level, 0, (_whole(maps, before, level), _whole(maps, after, level)))


@dataclass(frozen=True, slots=True)
class _Tree:
    """A map or a part of one; lower than where it stands, it is the first child, the rest hole."""

    level: int
    entry: Entry

    def node(self, maps: MapReader, level: int) -> Node:
        return Node.uniform(level, HOLE) if self.level < level else maps.node(level, self.entry)

    def child(self, node: Node, index: int) -> _Tree:
        if self.level < node.level and index == 0:
            return self
        return _Tree(node.level - 1, entry_of(node, index))


def _whole(maps: MapReader, image: Image, level: int) -> _Tree:
    root = maps.root(image)
    return _Tree(image.level if root.state == STORED else level, root)


def _differing(
    maps: MapReader, level: int, base: int, pair: tuple[_Tree, _Tree]
) -> Iterator[tuple[int, int]]:
    below = blocks_below(level)
    if pair[0] == pair[1]:
        return
    if STORED not in (pair[0].entry.state, pair[1].entry.state):  # a hole against zero
        yield base, base + below * FANOUT
        return
    before, after = (tree.node(maps, level) for tree in pair)
    differs = (
        (before.states != after.states)
        | (before.packs != after.packs)
        | (before.slots != after.slots)
    )
    differs[0] |= any(tree.level < level for tree in pair)
    for start, end in runs_of(differs.view(np.uint8)):
        if not differs[start]:
            continue
        if level == 0:
            yield base + start, base + end
            continue
        for i in range(start, end):
            children = pair[0].child(before, i), pair[1].child(after, i)
            yield from _differing(maps, level - 1, base + i * below, children)


def _stored_behind_first(
    maps: MapReader,
    level: int,
    states: np.ndarray[tuple[int], np.dtype[np.uint8]],
    stored: list[Entry],
) -> int:
    rest = stored[1:] if states[0] == STORED else stored
    return sum(maps.count_stored(level, entry) for entry in rest)


def _difference(maps: MapReader, level: int, old: Entry, new: Entry) -> int:
    if new.state != STORED or new == old:
        return 0
    if old.state != STORED:
        return maps.count_stored(level, new)
    before, after = maps.node(level, old), maps.node(level, new)
    same = (before.states == STORED) & (before.packs == after.packs) & (before.slots == after.slots)
    differs = np.flatnonzero((after.states == STORED) & ~same)
    if level == 0:
        return len(differs)
    return sum(
        _difference(maps, level - 1, entry_of(before, int(i)), entry_of(after, int(i)))
        for i in differs
    )
