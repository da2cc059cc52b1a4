"""What of a disk is not as in a backup already: all that a restore has to write.

Where no change tracking can be trusted, as after a restore that was interrupted, the disk itself
is read:

    stored blocks    read, digests compared with those in the packs' footers: no pack is read
    zeroes           what the server does not call hole or zero is read

What cannot be read counts as different: writing may mend it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from csbs.agent.write_plan import Zeroes
from csbs.blockio.nbd import NbdClient
from csbs.domain.errors import DiskUnreadable
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Fetch, ImageReader

log = logging.getLogger(__name__)

#: Blocks that are read at once: 2 MiB.
_READ_BLOCKS = 32


def differing(
    client: NbdClient, reader: ImageReader, part: Fetch, *, disk_size_bytes: int
) -> Fetch:
    """The fetch with those blocks only that the disk has not; perhaps none.

    Raises what the reader raises, and `OperationCancelled`.
    """
    same: set[int] = set()
    for first, count in _neighbours([block for block, _ in part.blocks]):
        offset_bytes = first * BLOCK_SIZE
        size_bytes = min(count * BLOCK_SIZE, disk_size_bytes - offset_bytes)
        data = _read(client, offset_bytes, size_bytes)
        if data is not None:
            same.update(reader.same(part, first, data))
    return reader.without(part, same)


def not_zero(client: NbdClient, piece: Zeroes) -> Iterator[Zeroes]:
    """The parts of the range, in blocks, that do not read as zero.

    Raises `OperationCancelled`.
    """
    step = _READ_BLOCKS * BLOCK_SIZE
    for start in range(piece.start, piece.end, step):
        end = min(start + step, piece.end)
        data = _read(client, start, end - start)
        if data is None:
            yield Zeroes(start, end)
            continue
        for at in range(0, len(data), BLOCK_SIZE):
            block = data[at : at + BLOCK_SIZE]
            if block.count(0) != len(block):
                yield Zeroes(start + at, start + at + len(block))


def _read(client: NbdClient, offset_bytes: int, size_bytes: int) -> bytearray | None:
    try:
        return client.read(offset_bytes, size_bytes)
    except DiskUnreadable as error:
        log.warning("a part of a disk is written unread", extra={"why": str(error)})
        return None


def _neighbours(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of these blocks, as (first, count), of at most what is read at once."""
    ordered = sorted(set(blocks))
    first = 0
    for i in range(1, len(ordered) + 1):
        ends = i == len(ordered) or ordered[i] != ordered[i - 1] + 1
        if ends or i - first == _READ_BLOCKS:
            yield ordered[first], i - first
            first = i
