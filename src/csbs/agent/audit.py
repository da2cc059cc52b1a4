"""A sample of what change tracking calls unchanged, compared with the parent.

A bitmap that missed a write would make every later backup wrong in silence.  So each incremental
run reads a small window of clean blocks, another one each time, and compares digests:

    disk   |....DD....|..D.......|..........|     D dirty: read by the backup anyway
    turn   0 ^^^^      1 ^^^^      2 ^^^^          window: the next clean data from there on
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from csbs.agent.backup_disk import DiskCopy, source_blocks
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.watch import Watch
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.extents import BLOCK_SIZE, Allocation, BlockExtent, block_count
from csbs.repository import ImageWriter

#: How far the window moves from one turn to the next, and how much it reads at most: about 30 ms,
#: a few percent of the shortest run.
WINDOW_BLOCKS = 128
#: Read at once.
_CHUNK_BLOCKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How long an audit may take."""

    time_max_s: float = 0.3
    limits: NbdLimits = field(default_factory=NbdLimits)
    monotonic: Monotonic = monotonic


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found: how many clean blocks were compared, and the first that differs."""

    compared_blocks: int
    wrong_block: int | None


def audit_disk(
    copy: DiskCopy,
    writer: ImageWriter,
    options: AuditOptions,
    *,
    turn: int,
    cancelled: Callable[[], bool],
) -> Audit:
    """Compares a window of the clean blocks of a disk that is read incrementally.

    `turn` counts the disk's backups.  Raises `DiskUnreadable`, `OperationCancelled`, and what
    reading the parent's map raises.
    """
    assert copy.dirty_context is not None, "without tracking there is nothing to audit"
    contexts = (BASE_ALLOCATION, copy.dirty_context)
    export = NbdExport(uri=copy.uri, disk=copy.disk, contexts=contexts)
    encoder = writer.encoder()
    end = options.monotonic() + options.time_max_s
    compared = 0
    with (
        Watch(cancelled=cancelled, monotonic=options.monotonic) as watch,
        NbdClient(export, watch, options.limits) as client,
    ):
        for first, count in _clean_data(client, copy, turn):
            size_bytes = min(count * BLOCK_SIZE, copy.size_bytes - first * BLOCK_SIZE)
            wrong = encoder.differing(first, client.read(first * BLOCK_SIZE, size_bytes))
            compared += count
            if wrong:
                return Audit(compared, wrong[0])
            if compared >= WINDOW_BLOCKS or options.monotonic() >= end:
                break
    return Audit(compared, None)


def _clean_data(client: NbdClient, copy: DiskCopy, turn: int) -> Iterator[tuple[int, int]]:
    """Runs of clean blocks with data, as (first, count), from this turn's place on, once around."""
    start = turn * WINDOW_BLOCKS % max(block_count(copy.size_bytes), 1)
    behind = source_blocks(client, copy, start=start)
    before = (each for each in source_blocks(client, copy) if each.first < start)
    for each in chain(behind, before):
        if each.dirty or each.allocation is not Allocation.DATA:
            continue
        yield from _chunks(each)


def _chunks(run: BlockExtent) -> Iterator[tuple[int, int]]:
    for first in range(run.first, run.end, _CHUNK_BLOCKS):
        yield first, min(_CHUNK_BLOCKS, run.end - first)
