"""Backing up one disk: what changed and is not known to be zero is read, in order.

    plan       (thread, own connection)    extents -> dirty blocks -> pieces, far ahead
    read       (threads, own connections)  piece -> bytes -> zero? as before? known? compress
    write      (the caller's thread)       in order: addresses into the map, frames into packs

A block that is dirty and reads as zero is a change like any other: it is filled, not left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from csbs.agent.allocation_check import Differs, checked
from csbs.agent.meter import Meter
from csbs.agent.rate_limit import RateLimit
from csbs.agent.read_plan import Piece, bytes_to_read, pieces
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.pipeline import map_bounded, run_ahead
from csbs.blockio.watch import Watch
from csbs.domain.block_set import NO_BLOCKS, BlockSet, marked
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import (
    BLOCK_SIZE,
    Allocation,
    BlockExtent,
    BlockRun,
    by_block,
    dirty_blocks,
)
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
    #: Changed too, whatever the context says.
    also_dirty: BlockSet = NO_BLOCKS


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How it is copied; memory is about `in_flight_max` times twice `piece_size_bytes`."""

    #: Threads, each with a connection of its own.
    readers: int = 2
    #: What a thread reads before it encodes.  4 MiB was not faster, 0.5 MiB took more CPU.
    piece_size_bytes: int = 2 * 1024**2
    in_flight_max: int = 8
    #: How far the plan runs ahead, in pieces: the total is known early, memory stays bounded.
    planned_max: int = 65_536
    limits: NbdLimits = field(default_factory=NbdLimits)
    #: Shared by all disks of a job; None: as fast as it goes.
    rate_limit: RateLimit | None = None
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

    Blocks whose allocation is not as in the parent count as dirty too.

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
        ahead = _planned(planner, copy, writer.allocation_differs, options, meter)
        planned_pieces = opened.enter_context(run_ahead(ahead, ahead_max=options.planned_max))
        wait = _waiting(options.rate_limit, cancelled)
        read_piece = partial(_read, readers, writer.encoder(), copy.size_bytes, wait)
        results = opened.enter_context(
            closing(
                map_bounded(pool, read_piece, planned_pieces, in_flight_max=options.in_flight_max)
            )
        )
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for piece, blocks in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {copy.disk}")
            for run, encoded in zip(piece.runs, blocks, strict=True):
                _place(writer, run, encoded)
            meter.done(piece.size_bytes)
    meter.finish()
    return CopyResult(image=writer.finish(), read_bytes=meter.done_bytes)


def source_blocks(client: NbdClient, copy: DiskCopy, *, start: int = 0) -> Iterator[BlockExtent]:
    """The disk from block `start` on: what is dirty by all that is known, what is allocated."""
    extents = client.extents(copy.dirty_context, start=start * BLOCK_SIZE)
    return marked(by_block(extents), copy.also_dirty.runs)


def _check_size(copy: DiskCopy, size_bytes: int) -> None:
    if size_bytes != copy.size_bytes:
        raise DiskUnreadable(
            copy.disk,
            "opening it",
            f"the NBD server has {size_bytes} bytes of it, it should have {copy.size_bytes}",
        )


def _planned(
    planner: NbdClient, copy: DiskCopy, differs: Differs, options: CopyOptions, meter: Meter
) -> Iterator[Piece]:
    blocks = source_blocks(planner, copy)
    if copy.dirty_context is not None:
        blocks = checked(copy.disk, blocks, differs)
    for piece in pieces(
        dirty_blocks(blocks),
        disk_size_bytes=copy.size_bytes,
        piece_size_max=options.piece_size_bytes,
    ):
        meter.expect(piece.size_bytes)
        yield piece


def _waiting(rate_limit: RateLimit | None, cancelled: Callable[[], bool]) -> Callable[[int], None]:
    """Waits until so many bytes may be read."""
    if rate_limit is None:
        return lambda _: None
    return lambda size_bytes: rate_limit.take(size_bytes, cancelled)


def _read(
    readers: Connections,
    encoder: BlockEncoder,
    disk_size_bytes: int,
    wait: Callable[[int], None],
    piece: Piece,
) -> tuple[Piece, list[Sequence[EncodedBlock]]]:
    """The encoded blocks of each run; none for a run that reads as zero.

    The connection is given back before they are encoded: another thread reads meanwhile.
    """
    sizes = [bytes_to_read(run, disk_size_bytes) for run in piece.runs]
    wait(sum(sizes))
    with readers.one() as client:
        data = [
            client.read(run.first * BLOCK_SIZE, size_bytes) if size_bytes else b""
            for run, size_bytes in zip(piece.runs, sizes, strict=True)
        ]
    return piece, [
        encoder.encode(run.first, each) if each else ()
        for run, each in zip(piece.runs, data, strict=True)
    ]


def _place(writer: ImageWriter, run: BlockRun, blocks: Sequence[EncodedBlock]) -> None:
    if run.allocation is Allocation.DATA:
        writer.write(run.first, blocks)
    else:
        writer.fill(run.first, run.end, HOLE if run.allocation is Allocation.HOLE else ZERO)
