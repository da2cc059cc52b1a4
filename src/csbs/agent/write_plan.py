"""What a restore writes at once.  Pure: from the blocks of an image to requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from csbs.domain.extents import BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Zeroes:
    """A half-open range of bytes to be zeroed; with `compare` only what is not zero already."""

    start: int
    end: int
    compare: bool = False


def joined(
    blocks: Iterable[tuple[int, bytes]], *, disk_size_bytes: int, request_size_max: int
) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of (block, bytes): neighbours joined, cut at the end of the disk."""
    blocks_max = request_size_max // BLOCK_SIZE
    group: list[bytes] = []
    first = 0
    for block, data in sorted(blocks, key=lambda each: each[0]):
        if group and (block != first + len(group) or len(group) == blocks_max):
            yield _request(first, group, disk_size_bytes)
            group = []
        if not group:
            first = block
        group.append(data)
    if group:
        yield _request(first, group, disk_size_bytes)


def _request(first: int, group: Sequence[bytes], disk_size_bytes: int) -> tuple[int, bytes]:
    offset_bytes = first * BLOCK_SIZE
    return offset_bytes, b"".join(group)[: disk_size_bytes - offset_bytes]
