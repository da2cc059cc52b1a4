"""Restoring one disk: every byte of it is written, as data or as zeroes.

    zero       ranges without data, joined; the server may free their space
    load       (threads) a range of a pack -> blocks, each checked by its digest
    write      (the same threads) neighbours joined into one request
    flush      at the end; only then is the disk restored

Where the disk is larger than the image, the rest is zeroed too.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from csbs.agent.meter import Meter
from csbs.agent.write_plan import Zeroes, in_parts, joined, zeroes
from csbs.blockio.connections import Connections, open_connections
from csbs.blockio.nbd import ZERO_SIZE_MAX, NbdClient, NbdExport, NbdLimits
from csbs.blockio.pipeline import map_bounded
from csbs.blockio.watch import Watch
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """How it is restored; memory is about 100 MB for each writer at most."""

    #: Threads that fetch and decompress; each has a connection where the server allows that.
    writers: int = 2
    #: How much of a pack is read at once.
    fetch_size_max: int = 4 * 1024**2
    in_flight_max: int = 8
    limits: NbdLimits = field(default_factory=NbdLimits)
    monotonic: Monotonic = monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What was written; together it is the size of the disk."""

    written_bytes: int
    zeroed_bytes: int


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
    succeeded the disk is neither old nor new.

    `progress` is called about ten times a second by the calling thread; `cancelled` is asked by
    several threads.  Raises `DiskUnreadable` if the disk is too small, read-only, fails, or is
    silent for too long; `OperationCancelled` within a second after `cancelled`; and what the
    reader raises for damaged backups.
    """
    export = NbdExport(uri=target.uri, disk=target.disk)
    meter = Meter(f"writing {target.disk}", progress, monotonic=options.monotonic)
    zeroed_bytes = 0
    with ExitStack() as opened:
        watch = opened.enter_context(Watch(cancelled=cancelled, monotonic=options.monotonic))
        with NbdClient(export, watch, options.limits) as client:
            size_bytes = _checked_size(target, client)
            connection_count = options.writers if client.can_multi_conn else 1
        meter.expect(size_bytes)
        connections = opened.enter_context(
            open_connections(export, connection_count, watch, options.limits)
        )
        pool = opened.enter_context(ThreadPoolExecutor(options.writers, "write-disk"))
        pieces = chain(
            zeroes(
                reader.runs(),
                image_size_bytes=target.image_size_bytes,
                disk_size_bytes=size_bytes,
                piece_size_max=ZERO_SIZE_MAX,
            ),
            reader.fetches(fetch_size_max=options.fetch_size_max),
        )
        write = partial(_write, connections, reader, size_bytes)
        results = opened.enter_context(
            closing(map_bounded(pool, write, pieces, in_flight_max=options.in_flight_max))
        )
        opened.callback(watch.interrupt)  # first at the end: nobody waits for calls of no use
        for piece, piece_bytes in results:
            if cancelled():
                raise OperationCancelled(f"the copy of disk {target.disk}")
            zeroed_bytes += piece_bytes if isinstance(piece, Zeroes) else 0
            meter.done(piece_bytes)
        connections.flush()
    assert meter.done_bytes == size_bytes, f"{meter.done_bytes} of {size_bytes} bytes were written"
    meter.finish()
    return RestoreResult(written_bytes=size_bytes - zeroed_bytes, zeroed_bytes=zeroed_bytes)


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


def _write(
    connections: Connections, reader: ImageReader, size_bytes: int, piece: Zeroes | Fetch
) -> tuple[Zeroes | Fetch, int]:
    """Writes one piece; returns it with the number of bytes that were written."""
    if isinstance(piece, Zeroes):
        with connections.one() as client:
            client.zero(piece.start, piece.end - piece.start)
        return piece, piece.end - piece.start
    written_bytes = 0
    for part in in_parts(piece, part_size_max=_PART_SIZE_MAX):
        requests = joined(
            reader.load(part), disk_size_bytes=size_bytes, request_size_max=_REQUEST_SIZE_MAX
        )
        with connections.one() as client:
            for offset_bytes, data in requests:
                client.write(offset_bytes, data)
                written_bytes += len(data)
    return piece, written_bytes
