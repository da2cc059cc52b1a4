"""What a restore looks at and writes, from what is known of the disk.

    made just now   all of it is hole: what is stored is written, nothing else
    known since     it was a backup (the base), and tracking says what changed since.  Written is
                    where the maps of base and image differ, or where tracking, or the allocation
                    held against the base's, says that it changed
    not known       what is allocated is compared; what is not reads as zero, nobody need look

`base:allocation` is believed as far as it says zero: zeroes are written over data only.

Pure planning but for the block-status requests; streaming: a disk of 16 TiB needs no more memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge

from csbs.agent.allocation_check import checked
from csbs.agent.write_plan import Zeroes
from csbs.blockio.nbd import BASE_ALLOCATION, ZERO_SIZE_MAX, NbdClient
from csbs.domain.block_set import NO_BLOCKS, BlockSet, marked
from csbs.domain.extents import BLOCK_SIZE, Allocation, BlockExtent, block_count, by_block
from csbs.repository import HOLE, WINDOW_BLOCKS, ZERO, Fetch, ImageReader

#: Zeroes that are compared in one piece: it counts as done when all of it is.
_COMPARE_SIZE_MAX = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSince:
    """What a disk is, but for what changed since."""

    base: ImageReader
    #: Meta context of what changed since the base.
    dirty_context: str
    #: Changed too, whatever the context says.
    also_dirty: BlockSet = NO_BLOCKS


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTarget:
    """Where an image is restored to, and what is known of the disk."""

    #: Name for errors, such as "vda of server web1".
    disk: str
    #: NBD, writable.
    uri: str
    #: Size of the disk that was backed up; the target may be larger.
    image_size_bytes: int
    #: It was made just now, and reads as zero.
    fresh: bool = False
    #: None: nothing is known, so the disk is compared.
    known: KnownSince | None = None
    #: What is known not to differ is compared all the same.
    compare_rest: bool = False

    @property
    def contexts(self) -> tuple[str, ...]:
        """Meta contexts that planning needs."""
        if self.fresh:
            return ()
        return (BASE_ALLOCATION, *([self.known.dirty_context] if self.known else []))


@dataclass(frozen=True, slots=True)
class Load:
    """Stored blocks to be written; with `compare` only those that the disk has not."""

    fetch: Fetch
    compare: bool


Piece = Zeroes | Load


def pieces(
    target: DiskTarget,
    client: NbdClient,
    reader: ImageReader,
    *,
    fetch_size_max: int,
    clean: Callable[[int, int], None] = lambda _first, _end: None,
) -> Iterator[Piece]:
    """All that must be done to the disk, roughly ascending; each block in one piece at most.

    `client` has the target's contexts, and is asked from the thread that takes the pieces; what
    was given out may be written meanwhile.  `clean` is told of runs of blocks with data that are
    left as they are.  Raises what the client and both readers raise.
    """
    steps = _steps(target, client, reader, clean)
    yield from planned(
        steps, reader, disk_size_bytes=client.size_bytes, fetch_size_max=fetch_size_max
    )


@dataclass(frozen=True, slots=True)
class Step:
    """A run of blocks that may have to be written; with `compare` it is compared first."""

    first: int
    end: int
    #: It may hold something else than zeroes.
    has_data: bool
    compare: bool


def planned(
    steps: Iterable[Step], reader: ImageReader, *, disk_size_bytes: int, fetch_size_max: int
) -> Iterator[Piece]:
    """The pieces of ascending steps."""
    for window in _windows(steps):
        for compare in (False, True):
            chosen = [step for step in window if step.compare is compare]
            with_data = [(step.first, step.end) for step in chosen if step.has_data]
            yield from _zeroes(reader, with_data, disk_size_bytes, compare=compare)
            runs = [(step.first, step.end) for step in chosen]
            for fetch in reader.fetches(runs, fetch_size_max=fetch_size_max):
                yield Load(fetch, compare)


def piece_size_bytes(piece: Piece, disk_size_bytes: int) -> int:
    """Bytes of the disk that are read or written for it; a hole is made at once."""
    if isinstance(piece, Zeroes):
        return piece.end - piece.start if piece.compare else 0
    blocks = piece.fetch.blocks
    last = max(block for block, _ in blocks)
    missing_bytes = max((last + 1) * BLOCK_SIZE - disk_size_bytes, 0)
    return len(blocks) * BLOCK_SIZE - missing_bytes


def _steps(
    target: DiskTarget,
    client: NbdClient,
    reader: ImageReader,
    clean: Callable[[int, int], None],
) -> Iterator[Step]:
    if target.fresh:
        yield Step(0, block_count(client.size_bytes), has_data=False, compare=False)
        return
    for each in _blocks(target, client, reader):
        has_data = each.allocation is Allocation.DATA
        if target.known is not None and each.dirty:
            yield Step(each.first, each.end, has_data, compare=False)
        elif target.known is None or target.compare_rest:
            yield Step(each.first, each.end, has_data, compare=has_data)
        elif has_data:
            clean(each.first, each.end)


def _blocks(target: DiskTarget, client: NbdClient, reader: ImageReader) -> Iterator[BlockExtent]:
    known = target.known
    if known is None:
        yield from by_block(client.extents(None))
        return
    differing = merge(reader.differing_runs(known.base.image), known.also_dirty.runs)
    blocks = marked(by_block(client.extents(known.dirty_context)), differing)
    yield from checked(target.disk, blocks, known.base.allocation_differs)


def _windows(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Steps that are planned together: their maps stay at hand, and packs stream."""
    window: list[Step] = []
    blocks = 0
    for step in steps:
        for part in _cut(step):
            window.append(part)
            blocks += part.end - part.first
            if blocks >= WINDOW_BLOCKS:
                yield window
                window, blocks = [], 0
    if window:
        yield window


def _cut(step: Step) -> Iterator[Step]:
    if not step.has_data:  # however large: it is gone through once
        yield step
        return
    first = step.first
    while first < step.end:
        end = min(step.end, (first // WINDOW_BLOCKS + 1) * WINDOW_BLOCKS)
        yield Step(first, end, step.has_data, step.compare)
        first = end


def _zeroes(
    reader: ImageReader, runs: list[tuple[int, int]], disk_size_bytes: int, *, compare: bool
) -> Iterator[Zeroes]:
    """Where the image has no data.

    A last block that is partial in the image is padded with zeroes, so it counts as whole, as far
    as the disk goes.
    """
    for run in reader.runs(runs):
        if run.state not in {HOLE, ZERO}:
            continue
        end_bytes = min(run.end_block * BLOCK_SIZE, disk_size_bytes)
        step = _COMPARE_SIZE_MAX if compare else ZERO_SIZE_MAX
        for start in range(run.first_block * BLOCK_SIZE, end_bytes, step):
            yield Zeroes(start, min(start + step, end_bytes), compare)
