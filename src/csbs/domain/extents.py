"""Extents of a disk: which bytes changed, and what they are without being read.

Changes are kept in blocks of 64 KiB, servers report them in any grain.  So all is rounded outward:
a block is *dirty* if any byte of it is, and must be read unless all of it reads as zero:

    server     [dirty data|clean.....)[dirty hole........|clean hole)
    block      |        0        |        1        |        2       |
    result     |  dirty, data    |  dirty, hole    |  dirty, hole   |

A block that is not alike throughout is dirty too.  An image of small clusters that was shrunk and
grown again has lost a part of a block, and no bitmap knows of that; what was kept of the block's
allocation cannot tell either, since it is of the whole block.

Pure, and streaming: a disk of 16 TiB may have more extents than fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

BLOCK_SIZE = 64 * 1024


class Allocation(Enum):
    """What the source says of a range without reading it."""

    #: Must be read.
    DATA = "data"
    #: Reads as zero, and space is set aside for it.
    ZERO = "zero"
    #: Reads as zero, and takes no space.
    HOLE = "hole"


@dataclass(frozen=True, slots=True)
class Extent:
    """A half-open range of bytes that is alike throughout."""

    start: int
    end: int
    allocation: Allocation
    dirty: bool


@dataclass(frozen=True, slots=True)
class BlockExtent:
    """A half-open range of blocks that is alike throughout."""

    first: int
    end: int
    allocation: Allocation
    dirty: bool


@dataclass(frozen=True, slots=True)
class BlockRun:
    """A half-open range of dirty blocks that are alike."""

    first: int
    end: int
    allocation: Allocation


def overlaid(
    start: int,
    allocations: Iterable[tuple[int, Allocation]],
    changes: Iterable[tuple[int, bool]],
) -> Iterator[Extent]:
    """Extents from `start` on, as far as both reports go.

    A report is a list of (end, value): the value holds from the end before it, at first from
    `start`.  Ends ascend.
    """
    changed = iter(changes)
    changed_end, dirty = start, False
    for end, allocation in allocations:
        while start < end:
            if changed_end > start:
                stop = min(end, changed_end)
                yield Extent(start, stop, allocation, dirty)
                start = stop
                continue
            following = next(changed, None)
            if following is None:
                return
            changed_end, dirty = following


def dirty_blocks(blocks: Iterable[BlockExtent]) -> Iterator[BlockRun]:
    """All dirty blocks in order, each once, neighbours of one kind joined."""
    current: BlockRun | None = None
    for each in blocks:
        if not each.dirty:
            continue
        if current is not None and (current.end, current.allocation) == (
            each.first,
            each.allocation,
        ):
            current = BlockRun(current.first, each.end, each.allocation)
            continue
        if current is not None:
            yield current
        current = BlockRun(each.first, each.end, each.allocation)
    if current is not None:
        yield current


def block_count(size_bytes: int) -> int:
    """Number of blocks of a disk; the last may be partial."""
    return -(-size_bytes // BLOCK_SIZE)


def by_block(extents: Iterable[Extent]) -> Iterator[BlockExtent]:
    """The same in whole blocks; one that is mixed of several kinds is dirty.

    The extents must follow one another without gaps, from the beginning of a block on.
    """
    shared: tuple[Allocation, bool] | None = None
    end: int | None = None
    for extent in extents:
        expected = extent.start // BLOCK_SIZE * BLOCK_SIZE if end is None else end
        assert extent.start == expected, f"a gap between {expected} and {extent.start}"
        start, end = extent.start, extent.end
        if shared is not None:
            shared = _mixed(shared, extent)
            block = start // BLOCK_SIZE
            start = (block + 1) * BLOCK_SIZE
            if end < start:
                continue
            yield BlockExtent(block, block + 1, *shared)
            shared = None
        if end // BLOCK_SIZE > start // BLOCK_SIZE:
            yield BlockExtent(
                start // BLOCK_SIZE, end // BLOCK_SIZE, extent.allocation, extent.dirty
            )
        if end % BLOCK_SIZE and end > start:
            shared = (extent.allocation, extent.dirty)
    if shared is not None and end is not None:
        block = end // BLOCK_SIZE
        yield BlockExtent(block, block + 1, *shared)


def _mixed(shared: tuple[Allocation, bool], extent: Extent) -> tuple[Allocation, bool]:
    allocation, dirty = shared
    if allocation is extent.allocation:
        return allocation, dirty or extent.dirty
    kinds = {allocation, extent.allocation}
    return (Allocation.DATA if Allocation.DATA in kinds else Allocation.ZERO), True
