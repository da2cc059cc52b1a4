"""Reads images: what is where, the plan of one pass over all bytes, and the bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from csbs.domain.errors import Corrupt
from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import difference
from csbs.repository.errors import BlockDamaged, CorruptObject
from csbs.repository.frame_cipher import SEAL_SIZE
from csbs.repository.loss import Loss, OnLoss
from csbs.repository.manifest import Image
from csbs.repository.map_reader import (
    HOLE_ENTRY,
    NODES_MAX,
    Entry,
    MapReader,
    ParentBlocks,
    runs_of,
)
from csbs.repository.node import (
    DAMAGED,
    FANOUT,
    HOLE,
    STORED,
    ZERO,
    Address,
    Flags,
    Node,
    PackTable,
)
from csbs.repository.pack import Kind, pack_key
from csbs.repository.pack_reader import PackReader

#: Where a read costs little.  4 MiB made restores a quarter slower: a buffer that is touched for
#: the first time costs more than a request does.
FETCH_SIZE_MAX = 1024 * 1024

#: Bounds the plain bytes of a fetch, by its largest size in the pack, which says nothing of them:
#: there may be a thousand times as much in it.
_PLAIN_SIZE_RATIO_MAX = 4

#: One read of a little too much costs less than two reads: one frame, of whatever repository.
_GAP_SIZE_MAX = 64 * 1024 + SEAL_SIZE

#: Blocks that are planned together: 256 MiB of disk, so packs stream, and a plan stays small.
WINDOW_BLOCKS = 4096

#: Half-open runs of blocks, ascending.
Runs = Iterable[tuple[int, int]]

_Column = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring blocks in one state: `HOLE`, `ZERO`, `STORED` or `DAMAGED`."""

    first_block: int
    end_block: int
    state: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One contiguous read of a pack, and the blocks that come of it: (block, slot)."""

    pack_id: bytes
    offset_bytes: int
    size_bytes: int
    blocks: tuple[tuple[int, int], ...]


class _Places(NamedTuple):
    """Where the frames of some blocks are, as columns; `pack` is a number of a `PackTable`."""

    pack: _Column
    offset: _Column
    end: _Column
    block: _Column
    slot: _Column


class ImageReader:
    """Reads one image; all methods may be called from several threads.

    All raise `MissingPack` and `CorruptObject`, and where bytes are read `BlockDamaged`.  With
    `on_loss` the methods of a restore (`runs`, `fetches`, `load`, `same`) tell it instead, and
    where it returns, go on as if what is lost were zero.
    """

    def __init__(self, packs: PackReader, image: Image, on_loss: OnLoss | None = None) -> None:
        self._packs = packs
        self._image = image
        self._on_loss = on_loss
        self._block_count = block_count(image.size_bytes)
        self._blocks = ParentBlocks(packs, image)
        self._of_thread = threading.local()

    @property
    def image(self) -> Image:
        """The image that is read."""
        return self._image

    def strict(self) -> ImageReader:
        """The same image; what is damaged raises, and nobody is told."""
        return ImageReader(self._packs, self._image)

    def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes of the range; fewer where the disk ends before.  For small ranges."""
        end_bytes = min(offset_bytes + size_bytes, self._image.size_bytes)
        if offset_bytes >= end_bytes:
            return b""
        first, end = offset_bytes // BLOCK_SIZE, block_count(end_bytes)
        data = bytearray((end - first) * BLOCK_SIZE)
        maps = self._maps()
        for start, piece_end, piece in self._pieces(maps, [(first, end)]):
            if not isinstance(piece, Node):
                continue
            for block in range(start, piece_end):
                plain = self._block(maps, piece, block)
                if plain is not None:
                    at = (block - first) * BLOCK_SIZE
                    data[at : at + BLOCK_SIZE] = plain
        return bytes(data[offset_bytes - first * BLOCK_SIZE : end_bytes - first * BLOCK_SIZE])

    def state(self, block: int) -> int:
        """State of one block."""
        for _, _, piece in self._pieces(self._maps(), [(block, block + 1)]):
            return int(piece.states[block % FANOUT]) if isinstance(piece, Node) else piece.state
        return HOLE

    def runs(self, within: Runs | None = None) -> Iterator[Run]:
        """The blocks of the disk in ascending order, neighbours of one state as one run.

        Of `within`, which may go beyond the disk (there all is hole), or all of them.
        """
        current: Run | None = None
        for run in self._raw_runs([(0, self._block_count)] if within is None else within):
            if current is not None and (current.state, current.end_block) == (
                run.state,
                run.first_block,
            ):
                current = replace(current, end_block=run.end_block)
                continue
            if current is not None:
                yield current
            current = run
        if current is not None:
            yield current

    def differing_runs(self, other: Image) -> Iterator[tuple[int, int]]:
        """Runs of blocks in which this image and another one may differ (`Repository` has it)."""
        return difference.differing_runs(self._packs, other, self._image)

    def allocation_differs(self, leaf: int, allocated: Flags) -> Flags | None:
        """Which of the 512 blocks of a leaf are not allocated as here; None: all are."""
        return self._blocks.allocation_differs(leaf, allocated)

    def fetches(
        self, within: Runs | None = None, *, fetch_size_max: int = FETCH_SIZE_MAX
    ) -> Iterator[Fetch]:
        """The plan of one pass over the stored blocks, of `within` or all, roughly ascending.

        A fetch has at most `fetch_size_max` bytes, and blocks of four times that; or one frame.
        """
        maps = self._maps()
        window: list[_Places] = []
        planned = 0
        runs = [(0, self._block_count)] if within is None else within
        for base, leaf, indices in _by_leaf(self._pieces(maps, runs)):
            for places in self._places(maps, base, leaf, indices):
                window.append(places)
                planned += len(places.block)
            if planned >= WINDOW_BLOCKS:
                yield from _merged(window, maps.table, fetch_size_max)
                window, planned = [], 0
        if window:
            yield from _merged(window, maps.table, fetch_size_max)

    def load(self, fetch: Fetch) -> list[tuple[int, bytes]]:
        """The plain bytes of each block of the fetch, each checked against its digest."""
        try:
            return self._loaded(fetch)
        except Corrupt as error:
            if self._on_loss is None:
                raise
            return list(self._loaded_or_zero(fetch, error))

    def _loaded(self, fetch: Fetch) -> list[tuple[int, bytes]]:
        slots = sorted({slot for _, slot in fetch.blocks})
        plain = self._packs.frames(
            fetch.pack_id,
            fetch.offset_bytes,
            fetch.size_bytes,
            [(slot, Kind.BLOCK) for slot in slots],
        )
        by_slot = dict(zip(slots, plain, strict=True))
        return [(block, by_slot[slot]) for block, slot in fetch.blocks]

    def _loaded_or_zero(self, fetch: Fetch, error: Corrupt) -> Iterator[tuple[int, bytes]]:
        """Frame by frame, after one of the fetch could not be read."""
        assert self._on_loss is not None, "the caller asked"
        has_footer = self._packs.has_footer(fetch.pack_id)
        for block, slot in fetch.blocks:
            if has_footer:
                try:
                    yield block, self._packs.frame(Address(fetch.pack_id, slot), Kind.BLOCK)
                    continue
                except Corrupt as its_own:
                    error = its_own
            self._on_loss(
                Loss(
                    first_block=block,
                    end_block=block + 1,
                    pack_id=fetch.pack_id,
                    slot=slot if has_footer else None,
                    why=error,
                )
            )
            yield block, bytes(BLOCK_SIZE)

    def tell_doubts(self, fetch: Fetch) -> None:
        """Tells `on_loss` of blocks of the fetch that are known to be damaged, by an earlier look.

        To be called where they will be loaded, and somebody may want to know before.
        """
        if self._on_loss is None or fetch.pack_id not in self._packs.damage.packs:
            return
        known = [each for each in fetch.blocks if self._packs.damage.has(fetch.pack_id, each[1])]
        columns = np.array(known, np.int64).reshape(-1, 2)
        error = CorruptObject(pack_key(fetch.pack_id), "what was written", "damage, before now")
        self._tell(fetch.pack_id, columns[:, 0], columns[:, 1], error)

    def without(self, fetch: Fetch, blocks: AbstractSet[int]) -> Fetch:
        """The fetch for fewer blocks, perhaps none, and no more of the pack than they need."""
        left = tuple(each for each in fetch.blocks if each[0] not in blocks)
        if not blocks or not left:
            return replace(fetch, blocks=left)
        footer = self._packs.footer(fetch.pack_id)
        positions = footer.near([slot for _, slot in left])
        offset = int(footer.offsets[positions].min())
        end = int((footer.offsets[positions] + footer.sizes[positions]).max())
        return replace(fetch, offset_bytes=offset, size_bytes=end - offset, blocks=left)

    def same(self, fetch: Fetch, first_block: int, data: bytes | bytearray) -> list[int]:
        """Which of the fetch's blocks are as in `data`, the bytes from `first_block` on.

        Digests are compared, no block is read; a partial last block is padded with zeroes.
        """
        try:
            footer = self._packs.footer(fetch.pack_id)
        except Corrupt:
            if self._on_loss is None:
                raise
            return []  # nobody can tell; loading it tells of the loss
        found = []
        for block, slot in fetch.blocks:
            at = (block - first_block) * BLOCK_SIZE
            if not 0 <= at < len(data):
                continue
            position = footer.position(slot)
            plain = bytes(data[at : at + BLOCK_SIZE]).ljust(BLOCK_SIZE, b"\0")
            if position is not None and footer.digest(position) == self._packs.digest(plain):
                found.append(block)
        return found

    def _raw_runs(self, within: Runs) -> Iterator[Run]:
        for start, end, piece in self._pieces(self._maps(), within):
            if isinstance(piece, Node):
                base = start - start % FANOUT
                for low, high in runs_of(piece.states[start - base : end - base]):
                    state = int(piece.states[start - base + low])
                    if state == DAMAGED and self._on_loss is not None:
                        self._tell_given_up(start + low, start + high)
                        state = ZERO
                    yield Run(start + low, start + high, state)
            else:
                yield Run(start, end, piece.state)

    def _pieces(self, maps: MapReader, runs: Runs) -> Iterator[tuple[int, int, Entry | Node]]:
        """Leaves and uniform pieces, cut to the runs; behind the disk all is hole."""
        root = maps.root(self._image)
        low = high = 0
        piece: Entry | Node | None = None
        for first, last in runs:
            start, end = first, min(last, self._block_count)
            if piece is not None and low <= start < min(high, end):  # where the last run ended
                yield start, min(high, end), piece
                start = min(high, end)
            left = maps.leaves(self._image.level, root, start, end) if start < end else ()
            for low, high, piece in left:
                if max(low, start) < min(high, end):
                    yield max(low, start), min(high, end), piece
            if last > self._block_count:
                yield max(first, self._block_count), last, HOLE_ENTRY

    def _maps(self) -> MapReader:
        """One for each thread, since they may not be shared."""
        found: MapReader | None = getattr(self._of_thread, "maps", None)
        if found is None:
            found = MapReader(self._packs, PackTable(), nodes_max=NODES_MAX, on_loss=self._on_loss)
            self._of_thread.maps = found
        return found

    def _block(self, maps: MapReader, leaf: Node, block: int) -> bytes | None:
        index = block % FANOUT
        state = int(leaf.states[index])
        if state == DAMAGED:
            raise BlockDamaged(self._image.id, block)
        if state != STORED:
            return None
        address = Address(maps.table.pack_id(int(leaf.packs[index])), int(leaf.slots[index]))
        return self._packs.frame(address, Kind.BLOCK)

    def _places(
        self, maps: MapReader, base: int, leaf: Node, indices: npt.NDArray[np.intp]
    ) -> Iterator[_Places]:
        states = leaf.states[indices]
        if self._on_loss is None and bool((states == DAMAGED).any()):
            raise BlockDamaged(self._image.id, base + int(indices[np.argmax(states == DAMAGED)]))
        for i in indices[states == DAMAGED].tolist():
            self._tell_given_up(base + i, base + i + 1)
        stored = indices[states == STORED]
        packs, slots = leaf.packs[stored], leaf.slots[stored]
        for number in np.unique(packs):
            pack_id = maps.table.pack_id(int(number))
            chosen = packs == number
            blocks, wanted = stored[chosen] + base, slots[chosen].astype(np.int64)
            offset, end = self._offsets(pack_id, blocks, wanted)
            yield _Places(
                pack=np.full(len(wanted), number, np.int64),
                offset=offset,
                end=end,
                block=blocks,
                slot=wanted,
            )

    def _offsets(self, pack_id: bytes, blocks: _Column, slots: _Column) -> tuple[_Column, _Column]:
        """Where the frames begin and end; of those that are lost nothing is read."""
        try:
            footer = self._packs.footer(pack_id)
            positions = footer.near(slots)
            if not len(footer.slots) or bool((footer.slots[positions] != slots).any()):
                raise CorruptObject(pack_key(pack_id), "the slots that a map names", "fewer")
        except Corrupt as error:
            if self._on_loss is None:
                raise
            self._tell(pack_id, blocks, slots, error)
            nothing = np.zeros(len(slots), np.int64)
            return nothing, nothing
        offsets = footer.offsets[positions]
        return offsets, offsets + footer.sizes[positions]

    def _tell(self, pack_id: bytes, blocks: _Column, slots: _Column, error: Corrupt) -> None:
        """These blocks are lost, as far as the plan of a pass can tell."""
        assert self._on_loss is not None, "the caller asked"
        has_footer = self._packs.has_footer(pack_id)
        for block, slot in zip(blocks.tolist(), slots.tolist(), strict=True):
            self._on_loss(
                Loss(
                    first_block=block,
                    end_block=block + 1,
                    pack_id=pack_id,
                    slot=slot if has_footer else None,
                    why=error,
                    certain=False,  # loading tells for certain
                )
            )

    def _tell_given_up(self, first_block: int, end_block: int) -> None:
        """What the map itself calls lost."""
        assert self._on_loss is not None, "the caller asked"
        self._on_loss(
            Loss(
                first_block=first_block,
                end_block=end_block,
                pack_id=None,
                slot=None,
                why=BlockDamaged(self._image.id, first_block),
            )
        )


def _by_leaf(
    pieces: Iterable[tuple[int, int, Entry | Node]],
) -> Iterator[tuple[int, Node, npt.NDArray[np.intp]]]:
    """(first block, leaf, indices into it) of the leaves among the pieces, each leaf once."""
    for (base, _), group in groupby(pieces, lambda each: (each[0] // FANOUT * FANOUT, id(each[2]))):
        ranges = list(group)
        leaf = ranges[0][2]
        if isinstance(leaf, Node):
            yield base, leaf, np.concatenate([np.arange(a - base, b - base) for a, b, _ in ranges])


def _merged(window: list[_Places], table: PackTable, fetch_size_max: int) -> list[Fetch]:
    """Fetches for these blocks, in the order of the first block of each."""
    places = _Places(*map(np.concatenate, zip(*window, strict=True)))
    order = np.lexsort((places.offset, places.pack))
    places = _Places(*(column[order] for column in places))
    # Frames lie behind one another, so the one before has the highest end so far.
    apart = (np.diff(places.pack) != 0) | (places.offset[1:] > places.end[:-1] + _GAP_SIZE_MAX)
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(places.pack)]
    fetches = []
    for start, end in pairwise(bounds):
        for first, stop in _within(places, start, end, fetch_size_max):
            group = _Places(*(column[first:stop] for column in places))
            fetches.append(_fetch(group, table.pack_id(int(group.pack[0]))))
    return sorted(fetches, key=lambda fetch: fetch.blocks[0][0])


def _within(
    places: _Places, start: int, end: int, fetch_size_max: int
) -> Iterator[tuple[int, int]]:
    """The range of neighbours, cut so that each part is one fetch."""
    blocks_max = max(_PLAIN_SIZE_RATIO_MAX * fetch_size_max // BLOCK_SIZE, 1)
    while start < end:
        limit = places.offset[start] + fetch_size_max
        fitting = int(np.searchsorted(places.end[start:end], limit, side="right"))
        stop = start + min(max(fitting, 1), blocks_max)
        yield start, stop
        start = stop


def _fetch(places: _Places, pack_id: bytes) -> Fetch:
    order = np.argsort(places.block)
    offset = int(places.offset[0])
    return Fetch(
        pack_id=pack_id,
        offset_bytes=offset,
        size_bytes=int(places.end[-1]) - offset,
        blocks=tuple(zip(places.block[order].tolist(), places.slot[order].tolist(), strict=True)),
    )
