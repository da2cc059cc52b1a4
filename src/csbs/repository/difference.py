"""How much of an image is not shared with another, D(before, after), and where they differ."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from csbs.repository.manifest import Image
from csbs.repository.map_reader import Entry, MapReader, entry_of, runs_of, stored_entries
from csbs.repository.node import FANOUT, STORED, PackTable, blocks_below
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
    """Half-open runs of blocks, ascending, in which two images of one size may differ.

    All others are the same bytes in both: the same address, or both hole, or both zero.  Subtrees
    that both share are not loaded.  Neighbouring runs may touch, and the last may reach beyond the
    disk.  Raises `MissingPack`, `CorruptObject`.
    """
    assert before.size_bytes == after.size_bytes, "images of one size"
    maps = MapReader(packs, PackTable())
    yield from _differing(maps, before.level, 0, (maps.root(before), maps.root(after)))


def _differing(
    maps: MapReader, level: int, base: int, pair: tuple[Entry, Entry]
) -> Iterator[tuple[int, int]]:
    below = blocks_below(level)
    if pair[0] == pair[1]:
        return
    if STORED not in (pair[0].state, pair[1].state):  # a hole against zero, however large
        yield base, base + below * FANOUT
        return
    before, after = maps.node(level, pair[0]), maps.node(level, pair[1])
    differs = (
        (before.states != after.states)
        | (before.packs != after.packs)
        | (before.slots != after.slots)
    )
    for start, end in runs_of(differs.view(np.uint8)):
        if not differs[start]:
            continue
        if level == 0:
            yield base + start, base + end
            continue
        for i in range(start, end):
            children = entry_of(before, i), entry_of(after, i)
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
