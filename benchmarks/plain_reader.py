"""The baseline: all allocated bytes of an NBD export, piped into `zstd -1 -T2`.

    python -m benchmarks.plain_reader URI FILE

Threads with a connection each read; nothing is looked at, hashed or cut: as little as a program
can do that reads a disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from csbs.blockio.connections import open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.pipeline import map_bounded
from csbs.blockio.watch import Watch
from csbs.domain.clock import monotonic
from csbs.domain.extents import Allocation

_READERS = 2
_PIECE_SIZE = 2 * 1024**2
_IN_FLIGHT_MAX = 8


def main(arguments: list[str]) -> None:
    """Reads, compresses, and returns when the file is on the disk."""
    uri, file = arguments
    with ExitStack() as opened:
        zstd = opened.enter_context(
            subprocess.Popen(["zstd", "-1", "-T2", "-q", "-f", "-o", file], stdin=subprocess.PIPE)
        )
        assert zstd.stdin is not None
        for data in _pieces(uri):
            zstd.stdin.write(data)
    if zstd.returncode != 0:
        sys.exit(zstd.returncode)
    with Path(file).open("rb") as written:
        os.fsync(written.fileno())


def _pieces(uri: str) -> Iterator[bytearray]:
    export = NbdExport(uri=uri, disk="source", contexts=(BASE_ALLOCATION,))
    limits = NbdLimits()
    with (
        Watch(cancelled=lambda: False, monotonic=monotonic) as watch,
        NbdClient(export, watch, limits) as planner,
        open_connections(export, _READERS, watch, limits) as readers,
        ThreadPoolExecutor(_READERS) as pool,
    ):

        def read(place: tuple[int, int]) -> bytearray:
            with readers.one() as client:
                return client.read(*place)

        yield from map_bounded(pool, read, places(planner), in_flight_max=_IN_FLIGHT_MAX)


def places(planner: NbdClient) -> Iterator[tuple[int, int]]:
    """(offset, size) of each piece that is allocated; neighbours are joined."""
    offset = end = 0
    for extent in planner.extents(None):
        if extent.allocation is not Allocation.DATA:
            continue
        if extent.start != end:
            yield from _cut(offset, end)
            offset = extent.start
        end = extent.end
    yield from _cut(offset, end)


def _cut(start: int, end: int) -> Iterator[tuple[int, int]]:
    for offset in range(start, end, _PIECE_SIZE):
        yield offset, min(_PIECE_SIZE, end - offset)


if __name__ == "__main__":
    main(sys.argv[1:])
