"""One bit for each slot of each pack, whatever it is to mean: 1 KiB a pack.

Several threads may look, as long as none sets bits.
"""

from __future__ import annotations

import numpy as np

from csbs.repository.errors import CorruptObject
from csbs.repository.node import I32, U16, Flags
from csbs.repository.pack import SLOTS_MAX

_PACK_SIZE = SLOTS_MAX // 8


class SlotBits:
    """Bits by the numbers of a `PackTable`, and by slot; all are clear at first."""

    def __init__(self) -> None:
        self._bits = np.zeros((1024, _PACK_SIZE), np.uint8)

    def add(self, packs: I32, slots: U16) -> None:
        """Sets the bits of these addresses.  Raises `CorruptObject` for a slot no pack can have."""
        if not len(slots):
            return
        require_slots("a map node", slots)
        self._reserve(int(packs.max()))
        np.bitwise_or.at(self._bits, (packs, slots >> 3), _bit(slots))

    def add_all(self, pack: int) -> None:
        """Sets all bits of a pack."""
        self._reserve(pack)
        self._bits[pack] = 0xFF

    def has(self, packs: I32, slots: U16) -> Flags:
        """For each of these addresses whether its bit is set."""
        if not len(slots):
            return np.zeros(0, np.bool_)
        require_slots("a map node", slots)
        self._reserve(int(packs.max()))
        found: Flags = (self._bits[packs, slots >> 3] & _bit(slots)) != 0
        return found

    def of(self, pack: int) -> Flags:
        """For each possible slot of the pack whether its bit is set."""
        if pack >= len(self._bits):
            return np.zeros(SLOTS_MAX, np.bool_)
        return np.unpackbits(self._bits[pack], bitorder="little").astype(np.bool_)

    def _reserve(self, pack: int) -> None:
        while pack >= len(self._bits):
            self._bits = np.vstack((self._bits, np.zeros_like(self._bits)))


def require_slots(name: str, slots: U16) -> None:
    """Raises `CorruptObject` (with `name`) if a slot is beyond what a pack can have."""
    if len(slots) and int(slots.max()) >= SLOTS_MAX:
        raise CorruptObject(name, f"slots below {SLOTS_MAX}", str(int(slots.max())))


def _bit(slots: U16) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.left_shift(np.uint8(1), (slots & 7).astype(np.uint8))
