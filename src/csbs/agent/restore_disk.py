"""Restoring one disk: what may differ from the image is written, or compared first.

    plan       (thread, own connection) what is known of the disk -> pieces (`restore_plan.py`)
    zero       ranges without data; the server may free their space
    load       (threads) a range of a pack -> blocks, each checked by its digest
    write      (the same threads) neighbours joined into one request
    flush      at the end; only then is the disk restored

A piece that is to be compared is read first, and what differs is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from csbs.agent.compare import differing, not_zero
from csbs.agent.copy_pool import CopyPool, PoolOptions
from csbs.agent.look_through import checked_size
from csbs.agent.meter import Meter
from csbs.agent.rate_limit import RateLimit
from csbs.agent.restore_plan import DiskTarget, Piece, piece_size_bytes, pieces
from csbs.agent.write_plan import Zeroes, joined
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import NbdClient, NbdExport
from csbs.blockio.pipeline import run_ahead
from csbs.blockio.watch import Watch
from csbs.domain.errors import OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import FETCH_SIZE_MAX, Fetch, ImageReader

#: To one export, beside the one that plans: qemu-nbd is told how many it takes, and those beyond
#: would wait for ever.  More were not faster.
CONNECTIONS_MAX = 16
#: qemu-nbd takes 32 MiB; larger ones than this were not faster.
_REQUEST_SIZE_MAX = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions(PoolOptions):
    """How the disks of a job are restored.

    Memory is about nine times `fetch_size_max` for each thread, however many disks there are.  The
    rate limit counts what is read of the store, and what is compared and written.
    """

    #: They fetch, decompress and write, and wait for the disk half of their time; each disk has so
    #: many connections, up to `CONNECTIONS_MAX`, where its server allows that.
    threads: int = 4
    #: How much of a pack is read at once.
    fetch_size_max: int = FETCH_SIZE_MAX
    #: How far the plan of each disk runs ahead, in pieces.
    planned_max: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """What the disks of one job share."""

    options: RestoreOptions
    pool: CopyPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What was done; together it is the size of the disk."""

    written_bytes: int
    zeroed_bytes: int
    #: As in the backup already, as far as is known or was compared.
    unchanged_bytes: int = 0


def restore_disk(
    target: DiskTarget,
    reader: ImageReader,
    restoring: Restoring,
    *,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> RestoreResult:
    """Makes the disk equal to the image, and zero behind it; durable when it returns.

    The disk may be larger than the image.  May be repeated after any failure, with nothing known of
    it; until it has succeeded the disk is neither old nor new.

    `progress` is called about ten times a second by the calling thread, with the bytes of
    `LookedThrough.work_bytes`; `cancelled` is asked by several threads.  Raises `DiskUnreadable` if
    the disk is too small, read-only, fails, or is silent for too long; `OperationCancelled` within
    a second after `cancelled`; and what the readers raise for damaged backups.
    """
    options = restoring.options
    planning = NbdExport(uri=target.uri, disk=target.disk, contexts=target.contexts)
    meter = Meter(f"writing {target.disk}", progress, monotonic=options.monotonic)
    zeroed_bytes = written_bytes = 0
    with ExitStack() as opened:
        watch = opened.enter_context(Watch(cancelled=cancelled, monotonic=options.monotonic))
        planner = opened.enter_context(NbdClient(planning, watch, options.limits))
        size_bytes = checked_size(target, planner)
        writing = NbdExport(uri=target.uri, disk=target.disk)
        connections = opened.enter_context(
            open_connections(
                writing,
                min(options.threads, CONNECTIONS_MAX) if planner.can_multi_conn else 1,
                watch,
                options.limits,
            )
        )
        ahead = _planned(target, planner, reader, options, meter)
        planned = opened.enter_context(run_ahead(ahead, ahead_max=options.planned_max))
        wait = _waiting(options.rate_limit, watch)
        work = _Work(connections, reader, size_bytes, wait, meter.count)
        results = opened.enter_context(closing(restoring.pool.map(work.do, planned)))
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for done in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {target.disk}")
            written_bytes += done.written_bytes
            zeroed_bytes += done.zeroed_bytes
            meter.tell()
        connections.flush()
    meter.finish()
    return RestoreResult(
        written_bytes=written_bytes,
        zeroed_bytes=zeroed_bytes,
        unchanged_bytes=size_bytes - written_bytes - zeroed_bytes,
    )


def _planned(
    target: DiskTarget,
    planner: NbdClient,
    reader: ImageReader,
    options: RestoreOptions,
    meter: Meter,
) -> Iterator[Piece]:
    size_bytes = planner.size_bytes
    for piece in pieces(target, planner, reader, fetch_size_max=options.fetch_size_max):
        meter.expect(piece_size_bytes(piece, size_bytes))
        yield piece


def _waiting(rate_limit: RateLimit | None, watch: Watch) -> Callable[[int], None]:
    """Waits until so many bytes may be moved."""
    if rate_limit is None:
        return lambda _: None
    return lambda size_bytes: rate_limit.take(size_bytes, watch.unwanted)


@dataclass(frozen=True, slots=True)
class _Done:
    """What of one piece was written."""

    written_bytes: int = 0
    zeroed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """What a thread does with a piece."""

    connections: Connections
    reader: ImageReader
    disk_size_bytes: int
    wait: Callable[[int], None]
    #: Told of all the work of each piece, as it is done.
    count: Callable[[int], None]

    def do(self, piece: Piece) -> _Done:
        work_bytes = piece_size_bytes(piece, self.disk_size_bytes)
        if isinstance(piece, Zeroes):
            zeroed_bytes = self._zero(piece, work_bytes)
            self.count(work_bytes)
            return _Done(zeroed_bytes=zeroed_bytes)
        if not piece.compare:
            return _Done(written_bytes=self._write(piece.fetch, self.count))
        wanted = self._differing(piece.fetch)
        written_bytes = self._write(wanted, lambda _: None) if wanted.blocks else 0
        self.count(work_bytes)
        return _Done(written_bytes=written_bytes)

    def _zero(self, piece: Zeroes, work_bytes: int) -> int:
        zeroed_bytes = 0
        self.wait(work_bytes)
        with self.connections.one() as client:
            for each in not_zero(client, piece) if piece.compare else (piece,):
                client.zero(each.start, each.end - each.start)
                zeroed_bytes += each.end - each.start
        return zeroed_bytes

    def _differing(self, fetch: Fetch) -> Fetch:
        self.wait(len(fetch.blocks) * BLOCK_SIZE)
        with self.connections.one() as client:
            return differing(client, self.reader, fetch, disk_size_bytes=self.disk_size_bytes)

    def _write(self, fetch: Fetch, count: Callable[[int], None]) -> int:
        written_bytes = 0
        self.wait(fetch.size_bytes + len(fetch.blocks) * BLOCK_SIZE)
        requests = joined(
            self.reader.load(fetch),
            disk_size_bytes=self.disk_size_bytes,
            request_size_max=_REQUEST_SIZE_MAX,
        )
        with self.connections.one() as client:
            for offset_bytes, data in requests:
                client.write(offset_bytes, data)
                written_bytes += len(data)
                count(len(data))
        return written_bytes
