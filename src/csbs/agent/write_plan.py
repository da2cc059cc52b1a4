"""What a restore writes where.  Pure: from the runs and blocks of an image to requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import HOLE, ZERO, Fetch, Run


@dataclass(frozen=True, slots=True)
class Zeroes:
    """A half-open range of bytes to be zeroed."""

    start: int
    end: int


def zeroes(
    runs: Iterable[Run], *, image_size_bytes: int, disk_size_bytes: int, piece_size_max: int
) -> Iterator[Zeroes]:
    """All of the disk that has no data, the rest behind the image too, in bounded pieces.

    A last block that is partial in the image is padded with zeroes, so it counts as whole, as far
    as the disk goes.
    """
    for start, end in _empty_ranges(runs, image_size_bytes, disk_size_bytes):
        for piece in range(start, end, piece_size_max):
            yield Zeroes(piece, min(piece + piece_size_max, end))


def in_parts(fetch: Fetch, *, part_size_max: int) -> Iterator[Fetch]:
    """The fetch, cut so that the plain bytes of each part are bounded.

    A fetch is bounded by its size in the pack, and may hold a thousand times that.
    """
    blocks_max = part_size_max // BLOCK_SIZE
    for first in range(0, len(fetch.blocks), blocks_max):
        yield replace(fetch, blocks=fetch.blocks[first : first + blocks_max])


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


def _empty_ranges(
    runs: Iterable[Run], image_size_bytes: int, disk_size_bytes: int
) -> Iterator[tuple[int, int]]:
    start = end = 0
    for run in runs:
        if run.state not in {HOLE, ZERO}:
            continue
        if run.first_block * BLOCK_SIZE != end:
            if end > start:
                yield start, end
            start = run.first_block * BLOCK_SIZE
        end = min(run.end_block * BLOCK_SIZE, disk_size_bytes)
    image_end = min(block_count(image_size_bytes) * BLOCK_SIZE, disk_size_bytes)
    if end != image_end:
        if end > start:
            yield start, end
        start = image_end
    if disk_size_bytes > start:
        yield start, disk_size_bytes
