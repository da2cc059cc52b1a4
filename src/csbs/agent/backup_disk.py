"""Backing up one disk: what changed and is not known to be zero is read, in order.

    plan       (thread, own connection)    extents -> dirty blocks -> pieces, far ahead
    read       (threads, own connections)  piece -> bytes -> zero? as before? known? compress
    write      (the caller's thread)       in order: addresses into the map, frames into packs

A block that is dirty and reads as zero is a change like any other: it is filled, not left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from csbs.agent.meter import Meter
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.pipeline import map_bounded, run_ahead
from csbs.blockio.watch import Watch
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE, Allocation, BlockRun, dirty_blocks
from csbs.domain.task import Progress
from csbs.repository import HOLE, ZERO, BlockEncoder, EncodedBlock, Image, ImageWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopy:
    """What is copied."""

    #: Name for errors, such as "vda of server web1".
    disk: str
    #: NBD.
    uri: str
    size_bytes: int
    #: Meta context of what changed since the parent; None: all of the disk is considered.
    dirty_context: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How it is copied; memory is about `in_flight_max` times twice `chunk_size_bytes`."""

    #: Threads, each with a connection of its own.
    readers: int = 2
    #: Whole blocks.  Larger ones were not faster, smaller ones cost more round trips.
    chunk_size_bytes: int = 2 * 1024**2
    in_flight_max: int = 8
    #: How far the plan runs ahead, in pieces: the total is known early, memory stays bounded.
    planned_max: int = 65_536
    limits: NbdLimits = field(default_factory=NbdLimits)
    monotonic: Monotonic = monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """The stored image, and what it took."""

    image: Image
    #: Bytes that were asked of the source.
    read_bytes: int


def back_up_disk(
    copy: DiskCopy,
    writer: ImageWriter,
    options: CopyOptions,
    *,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> CopyResult:
    """Stores all dirty blocks of the disk; the writer keeps its parent's entry for all others.

    `progress` is called about ten times a second by the calling thread, with the bytes that must
    be read; `cancelled` is asked by several threads.  Raises `DiskUnreadable` if the export is not
    what `copy` says (size, contexts), fails, or is silent for too long; `OperationCancelled`
    within a second after `cancelled`; and what the writer raises.
    """
    contexts = (BASE_ALLOCATION, *([copy.dirty_context] if copy.dirty_context else []))
    planned = NbdExport(uri=copy.uri, disk=copy.disk, contexts=contexts)
    read = NbdExport(uri=copy.uri, disk=copy.disk)
    meter = Meter(f"reading {copy.disk}", progress, monotonic=options.monotonic)
    with ExitStack() as opened:
        watch = opened.enter_context(Watch(cancelled=cancelled, monotonic=options.monotonic))
        planner = opened.enter_context(NbdClient(planned, watch, options.limits))
        _check_size(copy, planner.size_bytes)
        readers = opened.enter_context(
            open_connections(read, options.readers, watch, options.limits)
        )
        pool = opened.enter_context(ThreadPoolExecutor(options.readers, "read-disk"))
        pieces = opened.enter_context(
            run_ahead(
                _expected(_planned(planner, copy, options), meter, copy.size_bytes),
                ahead_max=options.planned_max,
            )
        )
        read_piece = partial(_read, readers, writer.encoder(), copy.size_bytes)
        results = opened.enter_context(
            closing(map_bounded(pool, read_piece, pieces, in_flight_max=options.in_flight_max))
        )
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for piece, blocks in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {copy.disk}")
            _place(writer, piece, blocks)
            meter.done(_size_bytes(piece, copy.size_bytes))
    meter.finish()
    return CopyResult(image=writer.finish(), read_bytes=meter.done_bytes)


def _check_size(copy: DiskCopy, size_bytes: int) -> None:
    if size_bytes != copy.size_bytes:
        raise DiskUnreadable(
            copy.disk,
            "opening it",
            f"the NBD server has {size_bytes} bytes of it, it should have {copy.size_bytes}",
        )


def _planned(planner: NbdClient, copy: DiskCopy, options: CopyOptions) -> Iterator[BlockRun]:
    """Dirty blocks in pieces: those that are read have at most a chunk's size."""
    chunk_blocks = options.chunk_size_bytes // BLOCK_SIZE
    for run in dirty_blocks(planner.extents(copy.dirty_context)):
        if run.allocation is not Allocation.DATA:
            yield run
            continue
        for first in range(run.first, run.end, chunk_blocks):
            yield BlockRun(first, min(first + chunk_blocks, run.end), run.allocation)


def _expected(pieces: Iterable[BlockRun], meter: Meter, size_bytes: int) -> Iterator[BlockRun]:
    for piece in pieces:
        meter.expect(_size_bytes(piece, size_bytes))
        yield piece


def _size_bytes(piece: BlockRun, size_bytes: int) -> int:
    """Bytes to be read for this piece; a disk may end inside its last block."""
    if piece.allocation is not Allocation.DATA:
        return 0
    return min(piece.end * BLOCK_SIZE, size_bytes) - piece.first * BLOCK_SIZE


def _read(
    readers: Connections, encoder: BlockEncoder, size_bytes: int, piece: BlockRun
) -> tuple[BlockRun, Sequence[EncodedBlock]]:
    """One piece, encoded by the same thread: while one hashes, the other's bytes arrive."""
    if piece.allocation is not Allocation.DATA:
        return piece, ()
    with readers.one() as client:
        data = client.read(piece.first * BLOCK_SIZE, _size_bytes(piece, size_bytes))
    return piece, encoder.encode(piece.first, data)


def _place(writer: ImageWriter, piece: BlockRun, blocks: Sequence[EncodedBlock]) -> None:
    if piece.allocation is Allocation.DATA:
        writer.write(piece.first, blocks)
    else:
        state = HOLE if piece.allocation is Allocation.HOLE else ZERO
        writer.fill(piece.first, piece.end, state)
