"""Codec and values of map nodes.  Pure; see docs/design/repository-format.md, "Map".

In memory a node keeps pack ids as numbers of a `PackTable`, so that comparing two nodes is
comparing two arrays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from csbs.repository.errors import CorruptObject

FANOUT: Final = 512

HOLE: Final = 0
ZERO: Final = 1
STORED: Final = 2
DAMAGED: Final = 3

_MAGIC = b"CSMN"
_VERSION = 1
_HEAD = struct.Struct("<4sBBH")
#: 512^5 blocks are far above 64 TiB.
_LEVEL_MAX = 4
_PACKS_MAX = FANOUT

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a frame is, for ever."""

    pack_id: bytes
    slot: int


class PackTable:
    """Numbers pack ids, for one reader or writer; it only grows (16 bytes a pack)."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._ids: list[bytes] = []

    def number(self, pack_id: bytes) -> int:
        """The number of this pack, from now on."""
        number = self._numbers.setdefault(pack_id, len(self._ids))
        if number == len(self._ids):
            self._ids.append(pack_id)
        return number

    def pack_id(self, number: int) -> bytes:
        """The pack with this number."""
        return self._ids[number]

    def all_ids(self) -> list[bytes]:
        """All packs, by their numbers."""
        return list(self._ids)


@dataclass(slots=True)
class Node:
    """512 entries: blocks for level 0, nodes of the level below otherwise.

    `packs` and `slots` count where `states` is `STORED` and are 0 elsewhere.  `allocation` is
    None for leaves, where it follows from `states`.
    """

    level: int
    states: U8
    packs: I32
    slots: U16
    allocation: U32 | None

    @staticmethod
    def uniform(level: int, state: int) -> Node:
        """A node whose entries are all holes or all zero."""
        return Node(
            level,
            np.full(FANOUT, state, np.uint8),
            np.zeros(FANOUT, np.int32),
            np.zeros(FANOUT, np.uint16),
            np.full(FANOUT, uniform_allocation(level - 1, state), np.uint32) if level else None,
        )

    def uniform_state(self) -> int | None:
        """`HOLE` or `ZERO` if all entries are that; else None."""
        first = int(self.states[0])
        return first if first in (HOLE, ZERO) and bool((self.states == first).all()) else None

    def allocation_value(self) -> int:
        """Four bytes that stand for the allocation of all that is below."""
        if self.allocation is None:
            return leaf_allocation(self.states != HOLE)
        return _allocation_value(self.allocation.astype("<u4").tobytes())


def leaf_allocation(allocated: Flags) -> int:
    """Allocation value of a leaf with these blocks allocated."""
    return _allocation_value(np.packbits(allocated, bitorder="little").tobytes())


def _allocation_value(data: bytes) -> int:
    return int.from_bytes(blake3(data).digest(length=4), "little")


@cache
def uniform_allocation(level: int, state: int) -> int:
    """Allocation value of a tree of this level that is all hole or all zero."""
    if level == 0:
        bits = bytes(FANOUT // 8) if state == HOLE else b"\xff" * (FANOUT // 8)
    else:
        bits = uniform_allocation(level - 1, state).to_bytes(4, "little") * FANOUT
    return _allocation_value(bits)


def root_level(block_count: int) -> int:
    """Level of the root of a map of this many blocks."""
    level = 0
    while FANOUT ** (level + 1) < block_count:
        level += 1
    return level


def blocks_below(level: int) -> int:
    """Number of blocks that one entry of a node of this level covers."""
    return int(FANOUT**level)


def encode_node(node: Node, table: PackTable) -> bytes:
    """Plain bytes of a node; equal nodes give equal bytes."""
    stored = node.states == STORED
    used, ordinals = _ordinals_by_first_use(node.packs[stored])
    slots = node.slots[stored]
    return b"".join(
        (
            _HEAD.pack(_MAGIC, _VERSION, node.level, len(used)),
            *(table.pack_id(int(number)) for number in used),
            node.states.tobytes(),
            _planes(ordinals.astype("<u2")),
            _planes(slots.astype("<u2")),
            b"" if node.allocation is None else _planes(node.allocation.astype("<u4")),
        )
    )


@dataclass(frozen=True, slots=True)
class Named:
    """What a node names, in the order of its stored entries; a mark needs no more."""

    level: int
    packs: I32
    slots: U16


def decode_named(name: str, data: bytes, table: PackTable) -> Named:
    """What the node in `data` names.  Raises `CorruptObject` (with `name`) if it is none."""
    return _decode_entries(name, data, table)[0]


def decode_node(name: str, data: bytes, table: PackTable) -> Node:
    """The node in `data`.  Raises `CorruptObject` (with `name`) if it is none."""
    named, states = _decode_entries(name, data, table)
    stored = states == STORED
    level = named.level
    packs, slots = np.zeros(FANOUT, np.int32), np.zeros(FANOUT, np.uint16)
    packs[stored], slots[stored] = named.packs, named.slots
    node = Node(level, states.copy(), packs, slots, None)
    if level:
        node.allocation = _from_planes(data[-4 * FANOUT :], "<u4").astype(np.uint32)
    return node


def _decode_entries(name: str, data: bytes, table: PackTable) -> tuple[Named, U8]:
    """What the node names, and the states of all its entries (read-only)."""
    if len(data) < _HEAD.size:
        raise CorruptObject(name, "a map node", f"{len(data)} bytes")
    magic, version, level, pack_count = _HEAD.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION) or level > _LEVEL_MAX or pack_count > _PACKS_MAX:
        raise CorruptObject(name, "a map node of version 1", repr(data[: _HEAD.size]))
    offset = _HEAD.size + 16 * pack_count
    states = np.frombuffer(data[offset : offset + FANOUT], np.uint8)
    count = int(np.count_nonzero(states == STORED))
    size = offset + FANOUT + 4 * count + (4 * FANOUT if level else 0)
    if len(data) != size or bool((states > DAMAGED).any()):
        raise CorruptObject(name, f"a map node of {size} bytes", f"{len(data)} bytes")
    ids = [data[i : i + 16] for i in range(_HEAD.size, offset, 16)]
    numbers = np.array([table.number(each) for each in ids], np.int32)
    offset += FANOUT
    ordinals = _from_planes(data[offset : offset + 2 * count], "<u2")
    slots = _from_planes(data[offset + 2 * count : offset + 4 * count], "<u2")
    if count and int(ordinals.max()) >= pack_count:
        raise CorruptObject(name, f"ordinals below {pack_count}", str(int(ordinals.max())))
    packs = numbers[ordinals] if count else np.zeros(0, np.int32)
    return Named(level, packs, slots.astype(np.uint16)), states


def _ordinals_by_first_use(numbers: I32) -> tuple[I32, npt.NDArray[np.intp]]:
    """Distinct numbers in the order of their first use, and for each number its place there."""
    distinct, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return distinct[order], place[inverse]


def _planes(column: npt.NDArray[np.unsignedinteger]) -> bytes:
    """The column byte plane by byte plane, lowest first: like bytes together compress better."""
    return column.view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()


def _from_planes(data: bytes, dtype: str) -> npt.NDArray[np.unsignedinteger]:
    width = np.dtype(dtype).itemsize
    planes = np.frombuffer(data, np.uint8).reshape(width, len(data) // width)
    column: npt.NDArray[np.unsignedinteger] = np.ascontiguousarray(planes.T).view(dtype).ravel()
    return column
