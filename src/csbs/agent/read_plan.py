"""What a backup reads together.  Pure: from runs of dirty blocks to pieces of work."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from csbs.domain.extents import BLOCK_SIZE, Allocation, BlockRun

#: A fragmented disk has runs of one block: a piece for each of them took a quarter more CPU.
RUNS_MAX = 64
#: Runs that wait together for their turn; as objects they would take four times the memory.
PACKED_RUNS = 64

_ALLOCATIONS = tuple(Allocation)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some runs in ascending order, worked on by one thread; `size_bytes` must be read."""

    runs: tuple[BlockRun, ...]
    size_bytes: int


def pieces(
    runs: Iterable[BlockRun], *, disk_size_bytes: int, piece_size_max: int
) -> Iterator[Piece]:
    """All runs in order, with at most `RUNS_MAX` of them and `piece_size_max` bytes in a piece.

    Runs without data are never cut: they cost nothing, however long they are.
    """
    gathered: list[BlockRun] = []
    size_bytes = 0
    for run in _cut(runs, piece_size_max // BLOCK_SIZE):
        more_bytes = bytes_to_read(run, disk_size_bytes)
        if len(gathered) == RUNS_MAX or size_bytes + more_bytes > piece_size_max:
            yield Piece(tuple(gathered), size_bytes)
            gathered, size_bytes = [], 0
        gathered.append(run)
        size_bytes += more_bytes
    if gathered:
        yield Piece(tuple(gathered), size_bytes)


def packed(runs: Iterable[BlockRun]) -> Iterator[array[int]]:
    """The same runs, `PACKED_RUNS` at a time; the first packs are small, so that work can begin."""
    pack, size = array("q"), 1
    for run in runs:
        pack.extend((run.first, run.end, _ALLOCATIONS.index(run.allocation)))
        if len(pack) >= 3 * size:
            yield pack
            pack, size = array("q"), min(2 * size, PACKED_RUNS)
    if pack:
        yield pack


def unpacked(packs: Iterable[array[int]]) -> Iterator[BlockRun]:
    """The runs of all packs."""
    for pack in packs:
        for first, end, allocation in zip(pack[::3], pack[1::3], pack[2::3], strict=True):
            yield BlockRun(first, end, _ALLOCATIONS[allocation])


def bytes_to_read(run: BlockRun, disk_size_bytes: int) -> int:
    """None where it reads as zero; a disk may end inside its last block."""
    if run.allocation is not Allocation.DATA:
        return 0
    return min(run.end * BLOCK_SIZE, disk_size_bytes) - run.first * BLOCK_SIZE


def _cut(runs: Iterable[BlockRun], blocks_max: int) -> Iterator[BlockRun]:
    for run in runs:
        if run.allocation is not Allocation.DATA:
            yield run
            continue
        for first in range(run.first, run.end, blocks_max):
            yield BlockRun(first, min(first + blocks_max, run.end), run.allocation)
