"""Backing up one disk: what changed and is not known to be zero is read, in order.

    plan       (thread, own connection)    extents -> runs of dirty blocks, far ahead
    read       (threads of the job)        piece -> bytes -> zero? as before? known? compress
    write      (the caller's thread)       in order: addresses into the map, frames into packs

Several disks may be backed up at once, each by a thread of its own, into one repository.  A block
that is dirty and reads as zero is a change like any other: it is filled, not left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from csbs.agent.allocation_check import Differs, checked
from csbs.agent.copy_pool import CopyPool, PoolOptions
from csbs.agent.meter import Meter
from csbs.agent.rate_limit import RateLimit
from csbs.agent.read_plan import (
    PACKED_RUNS,
    Piece,
    bytes_to_read,
    packed,
    pieces,
    unpacked,
)
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport
from csbs.blockio.pipeline import run_ahead
from csbs.blockio.watch import Watch
from csbs.domain.block_set import NO_BLOCKS, BlockSet, marked
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

#: To one export, beside the one that plans: QEMU takes 100 connections for all disks of a job, and
#: a thread reads for a short part of its time only.
CONNECTIONS_MAX = 6


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
class CopyOptions(PoolOptions):
    """How the disks of a job are copied.

    Memory is about `in_flight_max` times twice `piece_size_bytes`, and 32 bytes for each run of
    blocks that is planned ahead, however many disks there are.
    """

    #: What a thread reads before it encodes.  4 MiB was not faster, 0.5 MiB took more CPU.
    piece_size_bytes: int = 2 * 1024**2
    #: How far the plan of each disk runs ahead, in runs of blocks: the total is known early.
    planned_runs_max: int = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """What the copies of one job share."""

    options: CopyOptions
    pool: CopyPool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """The stored image, and what it took."""

    image: Image
    #: Bytes that were asked of the source.
    read_bytes: int


def back_up_disk(
    copy: DiskCopy,
    writer: ImageWriter,
    copying: Copying,
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
    options = copying.options
    read = NbdExport(uri=copy.uri, disk=copy.disk)
    meter = Meter(f"reading {copy.disk}", progress, monotonic=options.monotonic)
    with ExitStack() as opened:
        watch = opened.enter_context(Watch(cancelled=cancelled, monotonic=options.monotonic))
        planner = opened.enter_context(NbdClient(_export_to_plan(copy), watch, options.limits))
        _check_size(copy, planner.size_bytes)
        ahead = packed(_planned(planner, copy, writer.allocation_differs, meter))
        plan = opened.enter_context(
            run_ahead(ahead, ahead_max=max(1, options.planned_runs_max // PACKED_RUNS))
        )
        readers = opened.enter_context(
            open_connections(read, min(options.threads, CONNECTIONS_MAX), watch, options.limits)
        )
        wait = _waiting(options.rate_limit, watch.unwanted)
        read_piece = partial(_read, readers, writer.encoder(), copy.size_bytes, wait)
        to_read = pieces(
            unpacked(plan),
            disk_size_bytes=copy.size_bytes,
            piece_size_max=options.piece_size_bytes,
        )
        results = opened.enter_context(closing(copying.pool.map(read_piece, to_read)))
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for piece, blocks in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {copy.disk}")
            for run, encoded in zip(piece.runs, blocks, strict=True):
                _place(writer, run, encoded)
            meter.done(piece.size_bytes)
    meter.finish()
    return CopyResult(image=writer.finish(), read_bytes=meter.done_bytes)


def bytes_to_copy(copy: DiskCopy, options: CopyOptions, *, cancelled: Callable[[], bool]) -> int:
    """About what `back_up_disk` will read of the disk; allocation that changed is left out."""
    with (
        Watch(cancelled=cancelled, monotonic=options.monotonic) as watch,
        NbdClient(_export_to_plan(copy), watch, options.limits) as client,
    ):
        runs = dirty_blocks(source_blocks(client, copy))
        return sum(bytes_to_read(run, copy.size_bytes) for run in runs)


def source_blocks(client: NbdClient, copy: DiskCopy, *, start: int = 0) -> Iterator[BlockExtent]:
    """The disk from block `start` on: what is dirty by all that is known, what is allocated."""
    extents = client.extents(copy.dirty_context, start=start * BLOCK_SIZE)
    return marked(by_block(extents), copy.also_dirty.runs)


def _export_to_plan(copy: DiskCopy) -> NbdExport:
    contexts = (BASE_ALLOCATION, *([copy.dirty_context] if copy.dirty_context else []))
    return NbdExport(uri=copy.uri, disk=copy.disk, contexts=contexts)


def _check_size(copy: DiskCopy, size_bytes: int) -> None:
    if size_bytes != copy.size_bytes:
        raise DiskUnreadable(
            copy.disk,
            "opening it",
            f"the NBD server has {size_bytes} bytes of it, it should have {copy.size_bytes}",
        )


def _planned(
    planner: NbdClient, copy: DiskCopy, differs: Differs, meter: Meter
) -> Iterator[BlockRun]:
    blocks = source_blocks(planner, copy)
    if copy.dirty_context is not None:
        blocks = checked(copy.disk, blocks, differs)
    for run in dirty_blocks(blocks):
        meter.expect(bytes_to_read(run, copy.size_bytes))
        yield run


def _waiting(rate_limit: RateLimit | None, unwanted: Callable[[], bool]) -> Callable[[int], None]:
    """Waits until so many bytes may be read."""
    if rate_limit is None:
        return lambda _: None
    return lambda size_bytes: rate_limit.take(size_bytes, unwanted)


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
