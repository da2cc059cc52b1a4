"""Reading all live maps, each node once, and what they name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from csbs.domain.errors import Corrupt
from csbs.repository.errors import MissingPack
from csbs.repository.manifest import Image, Manifest
from csbs.repository.map_reader import Entry, MapReader
from csbs.repository.node import DAMAGED, I32, STORED, U16, Flags, PackTable
from csbs.repository.objectstore.base import ObjectInfo
from csbs.repository.pack import Kind, pack_key
from csbs.repository.slot_bits import SlotBits
from csbs.repository.verify_report import Findings, VerifyParts


class Named:
    """What live maps name: each node is read once, each block is one bit."""

    def __init__(self, parts: VerifyParts, found: Findings) -> None:
        self._parts = parts
        self._found = found
        self._table = PackTable()
        self._maps = MapReader(parts.packs, self._table)
        self._nodes = SlotBits()
        self._blocks = SlotBits()
        self._packs: set[bytes] = set()

    def add(self, manifest: Manifest, image: Image) -> None:
        """Walks the map of an image, as far as others had it not."""
        if image.root is None:
            return
        root = self._maps.root(image)
        packs, slots = np.array([root.pack], np.int32), np.array([root.slot], np.uint16)
        self._walk(image.level, packs, slots)
        try:
            digest = self._parts.packs.digest(self._parts.packs.frame(image.root, Kind.NODE))
        except Corrupt:
            return  # the walk has told
        if digest != image.root_digest:
            self._found.add(
                manifest.key, f"the map of disk {image.id} has another root than the manifest says"
            )

    def number(self, packs: Sequence[tuple[bytes, ObjectInfo]]) -> None:
        """Numbers all packs: afterwards several threads may ask `blocks_of`."""
        for pack_id, _ in packs:
            self._table.number(pack_id)

    def blocks_of(self, pack_id: bytes) -> Flags:
        """For each possible slot of the pack whether a map names it as a block."""
        return self._blocks.of(self._table.number(pack_id))

    def pack_ids(self) -> set[bytes]:
        """All packs that maps name."""
        return self._packs

    def tell_missing(self, listed: set[bytes]) -> None:
        """Packs that are named and not there."""
        for pack_id in sorted(self._packs - listed):
            self._found.add(pack_key(pack_id), MissingPack(pack_id.hex()))
            self._found.places.append((pack_id, None))

    def _walk(self, level: int, packs: I32, slots: U16) -> None:
        self._note_packs(packs)
        new = ~self._nodes.has(packs, slots)
        self._nodes.add(packs, slots)
        for entry, node in self._maps.nodes(level, packs[new], slots[new]):
            self._parts.watch.check()
            if isinstance(node, Corrupt):
                self._tell(entry, node)
                continue
            self._found.nodes += 1
            stored = node.states == STORED
            if level:
                self._walk(level - 1, node.packs[stored], node.slots[stored])
            else:
                self._found.given_up |= bool((node.states == DAMAGED).any())
                self._note_packs(node.packs[stored])
                self._blocks.add(node.packs[stored], node.slots[stored])

    def _note_packs(self, packs: I32) -> None:
        self._packs.update(self._table.pack_id(int(number)) for number in np.unique(packs))

    def _tell(self, entry: Entry, why: Corrupt) -> None:
        address = self._maps.address(entry)
        if self._parts.packs.has_footer(address.pack_id):  # else the pack is told of as a whole
            self._found.add(pack_key(address.pack_id), why)
            self._found.places.append((address.pack_id, address.slot))
