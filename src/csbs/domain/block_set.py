"""A set of blocks of one disk, kept as runs: bounded, and compact as bytes.

Encoded, a run is two numbers (the gap since the run before, its length), each in groups of seven
bits, lowest first, the eighth bit meaning that more follow; all of that goes through zlib, whose
checksum keeps a damaged set from being believed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge

from csbs.domain.extents import BlockExtent

#: About 300 kB as bytes, 10 MB in memory.  A disk that changed in more places is read whole.
RUNS_MAX = 65_536

#: What a damaged or forged set may unpack to: two numbers of ten bytes for each run.
_PLAIN_SIZE_MAX = RUNS_MAX * 20


@dataclass(frozen=True, slots=True)
class BlockSet:
    """Half-open runs of blocks, ascending, none empty, no two touching."""

    runs: tuple[tuple[int, int], ...] = field(default=())

    @staticmethod
    def of(runs: Iterable[tuple[int, int]], *, runs_max: int = RUNS_MAX) -> BlockSet | None:
        """The set of ascending runs, which may touch or overlap; None if it has too many."""
        joined: list[tuple[int, int]] = []
        for first, end in runs:
            if joined and first <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            elif len(joined) == runs_max:
                return None
            else:
                joined.append((first, end))
        return BlockSet(tuple(joined))

    def union(self, other: BlockSet, *, runs_max: int = RUNS_MAX) -> BlockSet | None:
        """All blocks of both; None if that has too many runs."""
        return BlockSet.of(merge(self.runs, other.runs), runs_max=runs_max)

    def encode(self) -> bytes:
        """The same as bytes."""
        plain = bytearray()
        last = 0
        for first, end in self.runs:
            for number in (first - last, end - first):
                _put(plain, number)
            last = end
        return zlib.compress(plain)

    @staticmethod
    def decode(data: bytes) -> BlockSet:
        """The set that `encode` gave these bytes for.  Raises ValueError for all others."""
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data, _PLAIN_SIZE_MAX)
        except zlib.error as error:
            raise _no_set(str(error)) from error
        if not unpacker.eof or unpacker.unused_data:
            raise _no_set("too short or too long")
        runs: list[tuple[int, int]] = []
        last = 0
        numbers = list(_numbers(plain))
        if len(numbers) % 2:
            raise _no_set("half a run")
        for gap, count in zip(numbers[::2], numbers[1::2], strict=True):
            if count == 0 or (gap == 0 and runs):
                raise _no_set("a run that is empty or touches the one before")
            runs.append((last + gap, last + gap + count))
            last += gap + count
        return BlockSet(tuple(runs))


NO_BLOCKS = BlockSet()


def marked(
    blocks: Iterable[BlockExtent], also_dirty: Iterable[tuple[int, int]]
) -> Iterator[BlockExtent]:
    """The same extents, cut where needed, with all blocks of these half-open runs dirty too.

    The extents must ascend; they may begin anywhere.  So must the runs, which may overlap.
    """
    runs = iter(also_dirty)
    run = next(runs, None)
    for each in blocks:
        first = each.first
        while first < each.end:
            while run is not None and run[1] <= first:
                run = next(runs, None)
            inside = run is not None and run[0] <= first
            border = each.end if run is None else run[1] if inside else run[0]
            end = min(each.end, border)
            yield BlockExtent(first, end, each.allocation, each.dirty or inside)
            first = end


def _no_set(why: str) -> ValueError:
    return ValueError(f"no set of blocks: {why}")


def _put(plain: bytearray, number: int) -> None:
    while number >= 0x80:  # noqa: PLR2004  seven bits a byte
        plain.append(number & 0x7F | 0x80)
        number >>= 7
    plain.append(number)


def _numbers(plain: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in plain:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  the last of a number
            yield number
            number = shift = 0
    if shift:
        raise _no_set("it ends inside a number")
