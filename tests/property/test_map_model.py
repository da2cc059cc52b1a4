"""Maps against a model, a dictionary, over chains of increments: any size, growth, cuts, fills."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import HOLE, STORED, ZERO, Address, EncodedBlock, Image, ImageReader
from csbs.repository.encoder import Outcome
from csbs.repository.map_reader import MapReader
from csbs.repository.node import FANOUT, Node, PackTable, root_level
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import Lab

_TIB = 1024**4
_SIZE_MAX = 64 * _TIB
#: In blocks: a cut within one needs its bytes, `test_repository_model` has that.
_BLOCKS_MAX = _SIZE_MAX // BLOCK_SIZE
_EDGES = [0, *(FANOUT**level for level in (1, 2, 3)), _BLOCKS_MAX]
_counts = st.one_of(
    st.integers(0, _BLOCKS_MAX),
    st.builds(
        lambda edge, off: min(max(edge + off, 0), _BLOCKS_MAX),
        st.sampled_from(_EDGES),
        st.integers(-2, 2),
    ),
)
#: Where something happens: a part of the disk, and blocks behind that.
_places = st.tuples(st.integers(0, 8), st.integers(-3, 3))
_writes = st.lists(st.tuples(_places, st.integers(1, 40)), max_size=6)
_fills = st.lists(st.tuples(_places, _places, st.sampled_from([HOLE, ZERO])), max_size=3)
Place = tuple[int, int]
Writes = list[tuple[Place, int]]
Fills = list[tuple[Place, Place, int]]
#: First and end block, and a state, or None for new data.
Set = tuple[int, int, int | None]
_increments = st.lists(st.tuples(_counts, _writes, _fills), min_size=1, max_size=5)


@dataclass(slots=True)
class Model:
    """Runs of blocks that are alike, as (end, state or address); the plainest thing that holds."""

    runs: list[tuple[int, int | Address]]

    def cut(self, count: int) -> None:
        end = self.runs[-1][0] if self.runs else 0
        if end < count:
            self.runs.append((count, HOLE))
        self.runs = self._piece(0, count)

    def set(self, first: int, end: int, value: int | Address) -> None:
        count = self.runs[-1][0]
        self.runs = [*self._piece(0, first), (end, value), *self._piece(end, count)]

    def _piece(self, first: int, end: int) -> list[tuple[int, int | Address]]:
        begin, found = 0, []
        for stop, value in self.runs:
            if max(begin, first) < min(stop, end):
                found.append((min(stop, end), value))
            begin = stop
        return found

    def states(self) -> list[tuple[int, int, int]]:
        """As `ImageReader.runs` gives them."""
        found: list[tuple[int, int, int]] = []
        begin = 0
        for end, value in self.runs:
            state = STORED if isinstance(value, Address) else value
            if found and found[-1][2] == state:
                begin = found.pop()[0]
            found.append((begin, end, state))
            begin = end
        return found

    def addresses(self) -> dict[int, Address]:
        begin = 0
        found: dict[int, Address] = {}
        for end, value in self.runs:
            if isinstance(value, Address):
                found |= dict.fromkeys(range(begin, end), value)
            begin = end
        return found


@dataclass(slots=True)
class Disk:
    """A chain of increments of one disk, and what it must be."""

    lab: Lab
    store: MemoryStore
    model: Model
    image: Image | None = None
    made: int = 0

    def increment(self, size_bytes: int, sets: list[Set]) -> tuple[Image, int]:
        """Sets ascending ranges, None to new data; the image, and how many nodes were written."""
        writer = self.lab.begin()
        before = {each.key for each in self.store.list("packs/")}
        self.model.cut(block_count(size_bytes))
        image = writer.image("disk", size_bytes, parent=self.image)
        for first, end, state in sets:
            if state is not None:
                image.fill(first, end, state)
                self.model.set(first, end, state)
                continue
            for block in range(first, end):
                address = Address(self.made.to_bytes(16, "big"), block % 8192)
                image.write(block, [EncodedBlock(Outcome.KNOWN, address)])
                self.model.set(block, block + 1, address)
            self.made += 1
        finished = image.finish()
        writer._writer.flush()  # packs of blocks are nobody's here: nothing can be committed
        keys = [each.key for each in self.store.list("packs/") if each.key not in before]
        packs = self.lab.repository._packs
        nodes = sum(len(packs.footer(bytes.fromhex(key[-32:])).slots) for key in keys)
        writer.abort()
        self.image = finished
        return finished, nodes

    def addresses(self) -> dict[int, Address]:
        assert self.image is not None
        maps = MapReader(self.lab.repository._packs, PackTable())
        found = {}
        root, level = maps.root(self.image), self.image.level
        for first, _, piece in maps.leaves(level, root, 0, block_count(self.image.size_bytes)):
            if isinstance(piece, Node):
                for i in np.flatnonzero(piece.states == STORED).tolist():
                    pack_id = maps.table.pack_id(int(piece.packs[i]))
                    found[first + i] = Address(pack_id, int(piece.slots[i]))
        return found


def new_disk(folder: str) -> Disk:
    store = MemoryStore()
    return Disk(Lab(store, Path(folder)), store, Model([]))


def at(place: Place, count: int) -> int:
    part, behind = place
    return min(max(count * part // 8 + behind, 0), count)


def ascending(count: int, writes: Writes, fills: Fills) -> list[Set]:
    """These ranges in order; what overlaps one before is cut."""
    wanted: list[Set] = []
    for place, length in writes:
        wanted.append((at(place, count), min(at(place, count) + length, count), None))
    for one, other, value in fills:
        ends = at(one, count), at(other, count)
        wanted.append((min(ends), max(ends), value))
    done = 0
    found: list[Set] = []
    for first, end, state in sorted(wanted, key=lambda each: each[:2]):
        if max(first, done) < end:
            found.append((max(first, done), end, state))
            done = end
    return found


@settings(max_examples=80, deadline=None)
@given(_increments)
def test_a_chain_of_increments_is_the_model(increments: list[tuple[int, Writes, Fills]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = new_disk(folder)
        for count, writes, fills in increments:
            size_bytes = count * BLOCK_SIZE
            resized = disk.image is None or disk.image.size_bytes != size_bytes
            sets = ascending(count, writes, fills)
            image, nodes = disk.increment(size_bytes, sets)
            reader = ImageReader(disk.lab.repository._packs, image)
            expected = disk.model.addresses()

            assert image.level == root_level(count)
            runs = [(run.first_block, run.end_block, run.state) for run in reader.runs()]
            assert runs == disk.model.states()
            assert disk.addresses() == expected
            assert image.nonzero_blocks == len(expected)
            # A range has two ends; a size has one, and is another path.
            paths = sum(end - first if state is None else 2 for first, end, state in sets)
            assert nodes <= (paths + 2 * resized) * (image.level + 1)
        disk.lab.close()


@pytest.mark.parametrize("size_bytes", [_TIB, 16 * _TIB, _SIZE_MAX], ids=["1", "16", "64"])
def test_an_increment_costs_its_paths_however_large_the_disk(size_bytes: int) -> None:
    count = size_bytes // BLOCK_SIZE
    with tempfile.TemporaryDirectory() as folder:
        disk = new_disk(folder)
        full, full_nodes = disk.increment(size_bytes, [(0, count, ZERO)])
        one, one_nodes = disk.increment(size_bytes, [(count // 3, count // 3 + 1, None)])
        same, same_nodes = disk.increment(size_bytes, [(count // 2, count - 1, ZERO)])
        _, cut_nodes = disk.increment(size_bytes // 2, [])
        disk.lab.close()

    # A root that is full is uniform; one that is not has one node at each level beside its end.
    assert full_nodes <= full.level + 1
    assert one_nodes == one.level + 1
    assert (same.root, same_nodes) == (one.root, 0)
    assert cut_nodes <= 2 * (one.level + 1)
