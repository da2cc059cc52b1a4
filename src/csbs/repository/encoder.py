"""The expensive part of a backup: what of the bytes that were read must be stored.

    zero?  ──► digest ──► the parent's block?  ──► known to the index?  ──► compress
     ZERO                  SAME                     KNOWN                    NEW

Both the parent and the index answer with an address only; the digest that lies there is asked of
the pack's footer, so a wrong or missing answer costs space and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import zstandard

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository.content_index import ContentIndex
from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.map_reader import ParentBlocks
from csbs.repository.node import STORED, Address
from csbs.repository.objectstore.base import Bytes
from csbs.repository.pack import Codec, Frame, Kind
from csbs.repository.pack_reader import PackReader

#: After so many neighbours that did not compress, a sample decides: one alone is no sign.
_RAW_RUN_MIN = 2

#: 4 KiB from 16 places: 11 microseconds instead of 75 for a block of a JPEG file.  Fewer places
#: miss what compresses in part.
_SAMPLE_PIECE_SIZE = 256
_SAMPLE_STEP = BLOCK_SIZE // 16


class Outcome(IntEnum):
    """What is to be done with a block."""

    ZERO = 0
    SAME = 1
    KNOWN = 2
    NEW = 3


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """One block; `address` where it is `KNOWN`, `frame` where it is `NEW`."""

    outcome: Outcome
    address: Address | None = None
    frame: Frame | None = None


_ZERO = EncodedBlock(Outcome.ZERO)
_SAME = EncodedBlock(Outcome.SAME)


class BlockEncoder:
    """Encodes the blocks of one disk; may be used by several threads."""

    def __init__(
        self,
        packs: PackReader,
        index: ContentIndex,
        parent: ParentBlocks | None,
        *,
        level: Callable[[], int],
    ) -> None:
        """`level` is asked for the level of compression, by each call."""
        self._packs = packs
        self._index = index
        self._parent = parent
        self._level = level
        self._of_thread = threading.local()

    def encode(self, first_block: int, data: Bytes) -> list[EncodedBlock]:
        """The blocks from `first_block` on; a partial last block is padded with zeroes."""
        blocks = _blocks_of(data)
        encoded = [_ZERO] * len(blocks)
        wanted = [i for i, nonzero in enumerate(_nonzero(data, len(blocks))) if nonzero]
        digests = {i: self._packs.digest(blocks[i]) for i in wanted}
        if self._parent is not None and wanted:
            same = self._same_as_parent(first_block, digests)
            for i in same:
                encoded[i] = _SAME
            wanted = [i for i in wanted if i not in same]
        known = self._known([digests[i] for i in wanted])
        compressor, raw_run = self._compressor(), 0
        for i, address in zip(wanted, known, strict=True):
            if address is None:
                sampled = raw_run >= _RAW_RUN_MIN
                frame = _frame(compressor, blocks[i], digests[i], sampled=sampled)
                encoded[i] = EncodedBlock(Outcome.NEW, frame=frame)
                raw_run = raw_run + 1 if frame.codec is Codec.RAW else 0
            else:
                encoded[i] = EncodedBlock(Outcome.KNOWN, address)
        return encoded

    def differing(self, first_block: int, data: Bytes) -> list[int]:
        """Numbers of the blocks that are not as in the parent; none without a parent.

        One whose pack is missing or damaged counts as different: nobody can tell.
        """
        if self._parent is None:
            return []
        blocks = _blocks_of(data)
        nonzero = _nonzero(data, len(blocks))
        digests = {i: self._packs.digest(blocks[i]) for i, some in enumerate(nonzero) if some}
        states = self._parent.entries(first_block, len(blocks)).states
        same = self._same_as_parent(first_block, digests) if digests else set()
        return [
            first_block + i
            for i, some in enumerate(nonzero)
            if (i not in same if some else states[i] == STORED)
        ]

    def _same_as_parent(self, first_block: int, digests: dict[int, bytes]) -> set[int]:
        """Which of these blocks, counted from the first, the parent has just so."""
        assert self._parent is not None
        indexes = np.fromiter(digests, np.int64, len(digests))
        start = int(indexes[0])
        try:
            parent = self._parent.entries(first_block + start, int(indexes[-1]) + 1 - start)
        except (MissingPack, CorruptObject):
            return set()  # the parent's map is damaged: all is stored anew
        states, packs = parent.states[indexes - start], parent.packs[indexes - start]
        slots = parent.slots[indexes - start]
        same: set[int] = set()
        for number in np.unique(packs[states == STORED]):
            chosen = np.flatnonzero((states == STORED) & (packs == number))
            of_pack = indexes[chosen].tolist()
            pack_id = self._parent.pack_id(int(number))
            wanted = b"".join(digests[i] for i in of_pack)
            try:
                held = self._packs.holds(pack_id, slots[chosen], Kind.BLOCK, wanted)
            except (MissingPack, CorruptObject):
                continue  # what lay there is stored anew
            same.update(i for i, holds in zip(of_pack, held.tolist(), strict=True) if holds)
        return same

    def _known(self, digests: Sequence[bytes]) -> list[Address | None]:
        if not digests:
            return []
        return [
            address if address is not None and self._holds(address, digest) else None
            for digest, address in zip(digests, self._index.find(digests), strict=True)
        ]

    def _holds(self, address: Address, digest: bytes) -> bool:
        """Whether this block lies there; not where the pack is missing or damaged."""
        try:
            return self._packs.find(address, Kind.BLOCK) == digest
        except (MissingPack, CorruptObject):
            return False

    def _compressor(self) -> zstandard.ZstdCompressor:
        """One for each thread, since they may not be shared, and of each level that was asked."""
        level = self._level()
        found: dict[int, zstandard.ZstdCompressor] | None
        found = getattr(self._of_thread, "compressors", None)
        if found is None:
            found = self._of_thread.compressors = {}
        if level not in found:
            found[level] = zstandard.ZstdCompressor(level=level)
        return found[level]


def _frame(
    compressor: zstandard.ZstdCompressor, block: Bytes, digest: bytes, *, sampled: bool
) -> Frame:
    """The block compressed, or raw: where that is smaller, or where a sample says so."""
    if not sampled or _sample_compresses(compressor, block):
        compressed = compressor.compress(block)
        if len(compressed) < BLOCK_SIZE:
            return Frame(Kind.BLOCK, Codec.ZSTD, compressed, BLOCK_SIZE, digest)
    return Frame(Kind.BLOCK, Codec.RAW, bytes(block), BLOCK_SIZE, digest)


def _sample_compresses(compressor: zstandard.ZstdCompressor, block: Bytes) -> bool:
    starts = range(0, BLOCK_SIZE, _SAMPLE_STEP)
    sample = b"".join(block[start : start + _SAMPLE_PIECE_SIZE] for start in starts)
    return len(compressor.compress(sample)) < len(sample)


def _blocks_of(data: Bytes) -> list[Bytes]:
    view = memoryview(data).cast("B")
    blocks: list[Bytes] = [view[i : i + BLOCK_SIZE] for i in range(0, len(view), BLOCK_SIZE)]
    if blocks and len(blocks[-1]) < BLOCK_SIZE:
        blocks[-1] = bytes(blocks[-1]).ljust(BLOCK_SIZE, b"\0")
    return blocks


def _nonzero(data: Bytes, count: int) -> list[bool]:
    """For each block whether any byte of it is not zero."""
    whole = len(data) // BLOCK_SIZE
    words = np.frombuffer(data, np.uint64, whole * BLOCK_SIZE // 8).reshape(whole, BLOCK_SIZE // 8)
    nonzero: list[bool] = np.any(words, axis=1).tolist()
    if whole < count:
        nonzero.append(bool(np.frombuffer(data, np.uint8, offset=whole * BLOCK_SIZE).any()))
    return nonzero
