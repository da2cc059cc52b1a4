"""Extents of a disk: half-open ranges of bytes with a kind, and how they are joined and cut.

Changes are tracked in blocks (64 KiB).  A block is *dirty* if any byte of it is, and *allocated*
if any byte of it is, so dirty and allocated ranges are rounded outward to whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

BLOCK_SIZE = 64 * 1024


class Allocation(Enum):
    """What the source says of a range without reading it."""

    DATA = "data"
    #: Reads as zero, and space is set aside for it.
    ZERO = "zero"
    #: Reads as zero, and takes no space.
    HOLE = "hole"


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of bytes that is alike throughout."""

    offset_bytes: int
    size_bytes: int
    allocation: Allocation

    @property
    def end_bytes(self) -> int:
        """The first byte behind the extent."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open range of bytes or of blocks, as the user of it says."""

    start: int
    end: int


def joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Joins ranges that touch or overlap; they must come ordered by `start`."""
    current: Range | None = None
    for each in ranges:
        if current is not None and each.start <= current.end:
            if each.end > current.end:
                current = Range(current.start, each.end)
            continue
        if current is not None:
            yield current
        current = each
    if current is not None:
        yield current


def blocks_touched(ranges: Iterable[Range]) -> Iterator[Range]:
    """Ranges of blocks that hold any byte of the (ordered) ranges of bytes, joined."""
    return joined(
        Range(each.start // BLOCK_SIZE, -(-each.end // BLOCK_SIZE))
        for each in ranges
        if each.end > each.start
    )


def block_count(size_bytes: int) -> int:
    """Number of blocks of a disk; the last may be partial."""
    return -(-size_bytes // BLOCK_SIZE)
