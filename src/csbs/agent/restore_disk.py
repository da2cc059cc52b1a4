"""Restoring one disk: every byte of it is written, as data or as zeroes, or found equal.

    zero       ranges without data, joined; the server may free their space
    load       (threads) a range of a pack -> blocks, each checked by its digest
    write      (the same threads) neighbours joined into one request
    flush      at the end; only then is the disk restored

A restore that goes on after an interrupted one compares first, piece by piece, and writes what
differs.  Where the disk is larger than the image, the rest is zeroed too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain

from csbs.agent.compare import differing, not_zero
from csbs.agent.meter import Meter
from csbs.agent.write_plan import Zeroes, in_parts, joined, zeroes
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, ZERO_SIZE_MAX, NbdClient, NbdExport, NbdLimits
from csbs.blockio.pipeline import map_bounded
from csbs.blockio.priority import lower_own_priority
from csbs.blockio.watch import Watch
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import Fetch, ImageReader

#: Plain bytes that a thread holds at once.
_PART_SIZE_MAX = 32 * 1024**2
#: qemu-nbd takes 32 MiB; larger ones than this were not faster.
_REQUEST_SIZE_MAX = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTarget:
    """Where an image is restored to."""

    #: Name for errors, such as "vda of server web1".
    disk: str
    #: NBD, writable.
    uri: str
    #: Size of the disk that was backed up; the target may be larger.
    image_size_bytes: int
    #: Write only what the disk does not have already.
    compare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """How it is restored; memory is about 100 MB for each writer at most."""

    #: Threads that fetch and decompress; each has a connection where the server allows that.
    writers: int = 2
    #: How much of a pack is read at once.
    fetch_size_max: int = 4 * 1024**2
    in_flight_max: int = 8
    limits: NbdLimits = field(default_factory=NbdLimits)
    #: Its threads get less of the host than others do.
    low_priority: bool = False
    monotonic: Monotonic = monotonic

    def begin_thread(self) -> None:
        """What each thread that writes does first."""
        if self.low_priority:
            lower_own_priority()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What was done; together it is the size of the disk."""

    written_bytes: int
    zeroed_bytes: int
    #: Compared, and found to be as in the backup.
    unchanged_bytes: int = 0


def restore_disk(
    target: DiskTarget,
    reader: ImageReader,
    options: RestoreOptions,
    *,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> RestoreResult:
    """Makes the disk equal to the image, and zero behind it; durable when it returns.

    The disk may be larger than the image.  May be repeated after any failure; until it has
    succeeded the disk is neither old nor new.  Comparing asks the server for `base:allocation`.

    `progress` is called about ten times a second by the calling thread; `cancelled` is asked by
    several threads.  Raises `DiskUnreadable` if the disk is too small, read-only, fails, or is
    silent for too long; `OperationCancelled` within a second after `cancelled`; and what the
    reader raises for damaged backups.
    """
    contexts = (BASE_ALLOCATION,) if target.compare else ()
    export = NbdExport(uri=target.uri, disk=target.disk, contexts=contexts)
    meter = Meter(f"writing {target.disk}", progress, monotonic=options.monotonic)
    zeroed_bytes = written_bytes = 0
    with ExitStack() as opened:
        watch = opened.enter_context(Watch(cancelled=cancelled, monotonic=options.monotonic))
        with NbdClient(export, watch, options.limits) as client:
            size_bytes = _checked_size(target, client)
            connection_count = options.writers if client.can_multi_conn else 1
        meter.expect(size_bytes)
        connections = opened.enter_context(
            open_connections(export, connection_count, watch, options.limits)
        )
        pool = opened.enter_context(
            ThreadPoolExecutor(options.writers, "write-disk", options.begin_thread)
        )
        pieces: Iterator[Zeroes | Fetch] = chain(
            zeroes(
                reader.runs(),
                image_size_bytes=target.image_size_bytes,
                disk_size_bytes=size_bytes,
                piece_size_max=ZERO_SIZE_MAX,
            ),
            reader.fetches(fetch_size_max=options.fetch_size_max),
        )
        work = _Work(connections, reader, size_bytes, target.compare)
        results = opened.enter_context(
            closing(map_bounded(pool, work.do, pieces, in_flight_max=options.in_flight_max))
        )
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for done in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {target.disk}")
            written_bytes += done.written_bytes
            zeroed_bytes += done.zeroed_bytes
            meter.done(done.size_bytes)
        connections.flush()
    assert meter.done_bytes == size_bytes, f"{meter.done_bytes} of {size_bytes} bytes were done"
    meter.finish()
    return RestoreResult(
        written_bytes=written_bytes,
        zeroed_bytes=zeroed_bytes,
        unchanged_bytes=size_bytes - written_bytes - zeroed_bytes,
    )


def _checked_size(target: DiskTarget, client: NbdClient) -> int:
    if client.is_read_only:
        raise DiskUnreadable(target.disk, "opening it", "it is read-only")
    size_bytes = client.size_bytes
    if size_bytes < target.image_size_bytes:
        raise DiskUnreadable(
            target.disk,
            "opening it",
            f"it has {size_bytes} bytes, the backup needs {target.image_size_bytes}",
        )
    return size_bytes


@dataclass(frozen=True, slots=True)
class _Done:
    """One piece: how large it is, and what of it was written."""

    size_bytes: int
    written_bytes: int = 0
    zeroed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """What a thread does with a piece."""

    connections: Connections
    reader: ImageReader
    disk_size_bytes: int
    compare: bool

    def do(self, piece: Zeroes | Fetch) -> _Done:
        return self._zero(piece) if isinstance(piece, Zeroes) else self._write(piece)

    def _zero(self, piece: Zeroes) -> _Done:
        zeroed_bytes = 0
        with self.connections.one() as client:
            for each in not_zero(client, piece) if self.compare else (piece,):
                client.zero(each.start, each.end - each.start)
                zeroed_bytes += each.end - each.start
        return _Done(piece.end - piece.start, zeroed_bytes=zeroed_bytes)

    def _write(self, piece: Fetch) -> _Done:
        written_bytes = 0
        for part in in_parts(piece, part_size_max=_PART_SIZE_MAX):
            wanted = part
            if self.compare:
                with self.connections.one() as client:
                    wanted = differing(
                        client, self.reader, part, disk_size_bytes=self.disk_size_bytes
                    )
            if wanted.blocks:
                written_bytes += self._write_part(wanted)
        return _Done(self._size_bytes(piece), written_bytes=written_bytes)

    def _write_part(self, part: Fetch) -> int:
        written_bytes = 0
        requests = joined(
            self.reader.load(part),
            disk_size_bytes=self.disk_size_bytes,
            request_size_max=_REQUEST_SIZE_MAX,
        )
        with self.connections.one() as client:
            for offset_bytes, data in requests:
                client.write(offset_bytes, data)
                written_bytes += len(data)
        return written_bytes

    def _size_bytes(self, piece: Fetch) -> int:
        """Of the disk; its last block may be partial."""
        return sum(
            min(BLOCK_SIZE, self.disk_size_bytes - block * BLOCK_SIZE) for block, _ in piece.blocks
        )
