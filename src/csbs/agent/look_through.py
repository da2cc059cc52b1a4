"""Looking through a disk before a restore writes to it: how much is to be done, and a sample.

Tracking orders the work, it does not prove the rest.  So blocks that it calls unchanged are
compared with the backup, some of them, spread evenly over all that have data.  One that differs,
or cannot be read, and all of them are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from csbs.agent.audit import Audit, AuditOptions
from csbs.agent.compare import differing, not_zero
from csbs.agent.restore_plan import DiskTarget, Load, Step, piece_size_bytes, pieces, planned
from csbs.blockio.nbd import NbdClient, NbdExport
from csbs.blockio.watch import Watch
from csbs.domain.errors import Corrupt, DiskUnreadable
from csbs.repository import FETCH_SIZE_MAX, ImageReader

log = logging.getLogger(__name__)

#: About 50 ms from a cache, within the time limit from a slow disk; half as many at least.
SAMPLE_BLOCKS_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedThrough:
    """What is to be done to the disk."""

    #: The same target; what is known of it no longer counts if that turned out to be void.
    target: DiskTarget
    #: Bytes that must be loaded, compared or written; holes that are made cost none.
    work_bytes: int
    #: What was found in the sample; None where nothing was left to be sampled.
    sample: Audit | None


def look_through(
    target: DiskTarget,
    reader: ImageReader,
    options: AuditOptions,
    *,
    turn: int,
    cancelled: Callable[[], bool],
) -> LookedThrough:
    """Counts the work, makes sure that every pack it needs has its footer, and takes the sample.

    Writes nothing.  Samples of other turns have other blocks.  Raises `DiskUnreadable` if the disk
    is too small, read-only, or does not answer; `OperationCancelled`; and what both readers raise.
    """
    export = NbdExport(uri=target.uri, disk=target.disk, contexts=target.contexts)
    with (
        Watch(cancelled=cancelled, monotonic=options.monotonic) as watch,
        NbdClient(export, watch, options.limits) as client,
    ):
        size_bytes = checked_size(target, client)
        if target.known is not None and target.known.base.image.size_bytes != size_bytes:
            target = replace(target, known=None)
        sample = Sample(turn)
        work_bytes = _work_bytes(target, client, reader, sample)
        if not sample.blocks:
            return LookedThrough(target=target, work_bytes=work_bytes, sample=None)
        audit = _audit(client, reader, sample, options)
        if audit.wrong_block is not None:
            log.error(
                "change tracking missed a write: all of the disk is compared with the backup",
                extra={"disk": target.disk, "block": audit.wrong_block},
            )
            target = replace(target, compare_rest=True)
            work_bytes = _work_bytes(target, client, reader, Sample(0))
    return LookedThrough(target=target, work_bytes=work_bytes, sample=audit)


def checked_size(target: DiskTarget, client: NbdClient) -> int:
    """Size of the disk, if the image can be written to it.  Raises `DiskUnreadable`."""
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


class Sample:
    """Blocks spread evenly over all that are added: `SAMPLE_BLOCKS_MAX` at most, half at least.

    Every block is taken at first; when there are too many, every second one is dropped, and from
    then on every second one is passed over.
    """

    def __init__(self, turn: int) -> None:
        """Other turns take other blocks."""
        self.blocks: list[int] = []
        self._step = 1
        self._turn = turn
        self._added = 0

    def add(self, first: int, end: int) -> None:
        """Offers the blocks of this run; runs ascend."""
        while first < end:
            offset = (self._turn - self._added) % self._step
            if first + offset >= end:
                self._added += end - first
                return
            self._added += offset + 1
            first += offset + 1
            self.blocks.append(first - 1)
            if len(self.blocks) > SAMPLE_BLOCKS_MAX:
                self._thin_out()

    def _thin_out(self) -> None:
        """Keeps the blocks whose numbers, in the order they were added, fit the wider step."""
        numbers = range(self._turn % self._step, self._added, self._step)
        self._step *= 2
        kept = self._turn % self._step
        self.blocks = [
            block
            for number, block in zip(numbers, self.blocks, strict=True)
            if number % self._step == kept
        ]


def _work_bytes(target: DiskTarget, client: NbdClient, reader: ImageReader, sample: Sample) -> int:
    size_bytes = client.size_bytes
    work_bytes = 0
    for piece in pieces(target, client, reader, fetch_size_max=FETCH_SIZE_MAX, clean=sample.add):
        if isinstance(piece, Load) and not piece.compare:
            reader.tell_doubts(piece.fetch)
        work_bytes += piece_size_bytes(piece, size_bytes)
    return work_bytes


def _audit(client: NbdClient, reader: ImageReader, sample: Sample, options: AuditOptions) -> Audit:
    end_s = options.monotonic() + options.time_max_s
    compared = 0
    for wrong_block, count in _compared(client, reader, sample):
        compared += count
        if wrong_block is not None:
            return Audit(compared, wrong_block)
        if options.monotonic() >= end_s:
            break
    return Audit(compared, None)


def _compared(
    client: NbdClient, reader: ImageReader, sample: Sample
) -> Iterator[tuple[int | None, int]]:
    """(the block if it differs, how many were compared), block by block."""
    strict = reader.strict()
    for block in sample.blocks:
        try:
            yield _compared_block(client, strict, block)
        except Corrupt as error:  # nobody can tell what it should be
            log.warning("a block was not compared", extra={"block": block, "why": str(error)})


def _compared_block(client: NbdClient, reader: ImageReader, block: int) -> tuple[int | None, int]:
    size_bytes = client.size_bytes
    step = Step(block, block + 1, has_data=True, compare=True)
    wrong: int | None = None
    for piece in planned([step], reader, disk_size_bytes=size_bytes, fetch_size_max=FETCH_SIZE_MAX):
        if isinstance(piece, Load):
            differs = bool(
                differing(client, reader, piece.fetch, disk_size_bytes=size_bytes).blocks
            )
        else:
            differs = next(not_zero(client, piece), None) is not None
        wrong = block if differs else wrong
    return wrong, 1
