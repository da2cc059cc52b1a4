"""Reads packs: footers through a bounded cache, frames with their digests checked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from blake3 import blake3

from csbs.domain.errors import Corrupt
from csbs.repository.damage import NO_DAMAGE, Damage
from csbs.repository.errors import CorruptObject, MissingPack, ObjectNotFound
from csbs.repository.frame_cipher import DataKeys, PackCipher
from csbs.repository.node import U16, Address, Flags
from csbs.repository.objectstore.base import Bytes, ObjectStore
from csbs.repository.objectstore.tail import tail_of
from csbs.repository.pack import (
    TRAILER_SIZE,
    Footer,
    Kind,
    Trailer,
    decode_footer,
    decode_frame,
    decode_trailer,
    pack_key,
)

#: Some 600 footers of full packs; a restore or rescan of an aged disk goes to and fro among them.
CACHE_SIZE_MAX = 64 * 1024 * 1024

#: Trailer and footer of a full pack in one read, most of the time.
_TAIL_SIZE = 64 * 1024

#: Frames that are read together: a little too much costs less than two reads.
_GAP_SIZE_MAX = 16 * 1024
_READ_SIZE_MAX = 1024 * 1024

#: What a slot costs in a cached footer: six columns of eight bytes, and the digest.
_SLOT_SIZE = 6 * 8 + 32
_FOOTER_SIZE = 1024


class PackReader:
    """The packs of one repository; may be used by several threads.

    Every method raises `MissingPack` if the pack is gone, and `CorruptObject` if it is damaged.
    """

    def __init__(
        self,
        store: ObjectStore,
        digest_key: bytes,
        *,
        data_keys: DataKeys | None = None,
        cache_size_max: int = CACHE_SIZE_MAX,
    ) -> None:
        """`data_keys` are those of an encrypted repository; None in a plain one.

        `cache_size_max` bounds, in bytes, the footers that are kept.
        """
        self._store = store
        self._digest_key = digest_key
        self._data_keys = data_keys
        #: What is known to be damaged: it is still read if somebody asks for it, but whoever looks
        #: for a block to be named again (`find`, `holds`) is told that it is not there.
        self.damage: Damage = NO_DAMAGE
        self._cache: OrderedDict[bytes, Footer] = OrderedDict()
        self._cache_size = 0
        self._cache_size_max = cache_size_max
        self._lock = threading.Lock()

    def digest(self, plain: Bytes) -> bytes:
        """Digest of a block or node of this repository."""
        return blake3(plain, key=self._digest_key).digest()

    def new_cipher(self, pack_id: bytes) -> PackCipher | None:
        """What encrypts the frames of a new pack; None in a plain repository."""
        return None if self._data_keys is None else self._data_keys.new_cipher(pack_id)

    def footer(self, pack_id: bytes) -> Footer:
        """The pack's footer, perhaps from the cache."""
        with self._lock:
            found = self._cache.get(pack_id)
            if found is not None:
                self._cache.move_to_end(pack_id)
                return found
        footer = load_footer(self._store, pack_id)
        with self._lock:
            if pack_id not in self._cache:
                self._cache[pack_id] = footer
                self._cache_size += _size(footer)
            while self._cache_size > self._cache_size_max and len(self._cache) > 1:
                self._cache_size -= _size(self._cache.popitem(last=False)[1])
        return footer

    def has_footer(self, pack_id: bytes) -> bool:
        """Whether the pack is there with a footer that can be read; raises nothing for damage."""
        try:
            self.footer(pack_id)
        except Corrupt:
            return False
        return True

    def forget(self, pack_ids: Iterable[bytes]) -> None:
        """Drops these from the cache: they were deleted."""
        with self._lock:
            for pack_id in pack_ids:
                footer = self._cache.pop(pack_id, None)
                self._cache_size -= 0 if footer is None else _size(footer)

    def trailer(self, pack_id: bytes) -> tuple[Trailer, int]:
        """The pack's trailer and size, asked of the store anew."""
        key = pack_key(pack_id)
        try:
            data, size_bytes = tail_of(self._store, key, TRAILER_SIZE)
        except ObjectNotFound as error:
            raise MissingPack(pack_id.hex()) from error
        return _checked_trailer(pack_id, data[-TRAILER_SIZE:], size_bytes), size_bytes

    def find(self, address: Address, kind: Kind) -> bytes | None:
        """Digest of the frame at this address; None if there is none, or of another kind.

        None too where it is known to be damaged.
        """
        if self.damage.has(address.pack_id, address.slot):
            return None
        footer = self.footer(address.pack_id)
        position = footer.position(address.slot)
        if position is None or footer.kinds[position] != kind:
            return None
        return footer.digest(position)

    def holds(self, pack_id: bytes, slots: U16, kind: Kind, digests: bytes) -> Flags:
        """See `Footer.holds`; what is known to be damaged is not held."""
        held = self.footer(pack_id).holds(slots, kind, digests)
        return held & ~self.damage.mask(pack_id, slots)

    def frame(self, address: Address, kind: Kind) -> bytes:
        """Plain bytes of the frame, which has this digest."""
        footer = self.footer(address.pack_id)
        position = footer.position(address.slot)
        if position is None:
            raise _no_slot(address)
        offset, size = int(footer.offsets[position]), int(footer.sizes[position])
        return self.frames(address.pack_id, offset, size, [(address.slot, kind)])[0]

    def frames_of(self, pack_id: bytes, slots: Sequence[int], kind: Kind) -> Iterator[bytes]:
        """Plain bytes of these slots, which ascend; neighbours by one read."""
        footer = self.footer(pack_id)
        starts, ends = [], []
        for slot in slots:
            position = footer.position(slot)
            if position is None:
                raise _no_slot(Address(pack_id, slot))
            starts.append(int(footer.offsets[position]))
            ends.append(starts[-1] + int(footer.sizes[position]))
        first = 0
        for i in range(1, len(slots) + 1):
            if (
                i == len(slots)
                or starts[i] > ends[i - 1] + _GAP_SIZE_MAX
                or ends[i] - starts[first] > _READ_SIZE_MAX
            ):
                wanted = [(slot, kind) for slot in slots[first:i]]
                yield from self.frames(pack_id, starts[first], ends[i - 1] - starts[first], wanted)
                first = i

    def frames(
        self, pack_id: bytes, offset: int, size: int, wanted: Sequence[tuple[int, Kind]]
    ) -> list[bytes]:
        """Plain bytes of these slots, which lie in this range of the pack, by one read."""
        footer = self.footer(pack_id)
        data = self._range(pack_id, offset, size)
        return [
            self._decoded(footer, Address(pack_id, slot), kind, (data, offset))
            for slot, kind in wanted
        ]

    def _decoded(
        self, footer: Footer, address: Address, kind: Kind, read: tuple[memoryview, int]
    ) -> bytes:
        data, data_offset = read
        name = f"{pack_key(address.pack_id)} slot {address.slot}"
        position = footer.position(address.slot)
        if position is None:
            raise _no_slot(address)
        if footer.kinds[position] != kind:
            raise CorruptObject(name, f"kind {int(kind)}", f"kind {footer.kinds[position]}")
        start = int(footer.offsets[position]) - data_offset
        size = int(footer.sizes[position])
        stored: Bytes = data[start : start + size]
        if len(stored) != size:
            raise CorruptObject(name, f"{size} bytes", f"{len(stored)} bytes")
        plain_size = int(footer.plain_sizes[position])
        cipher = self._cipher(address.pack_id, footer)
        if cipher is not None:
            stored = cipher.open_frame(name, address.slot, kind, plain_size, stored)
        plain = decode_frame(name, int(footer.codecs[position]), stored, plain_size)
        if self.digest(plain) != footer.digest(position):
            raise CorruptObject(name, f"digest {footer.digest(position).hex()}", "another")
        return plain

    def _cipher(self, pack_id: bytes, footer: Footer) -> PackCipher | None:
        """What opens the pack's frames.  Raises `CorruptObject` for a pack of another kind."""
        key = pack_key(pack_id)
        if footer.seal is None and self._data_keys is None:
            return None
        if footer.seal is None:
            raise CorruptObject(key, "an encrypted pack", "a plain one")
        if self._data_keys is None:
            raise CorruptObject(key, "a plain pack", "an encrypted one")
        return self._data_keys.cipher(key, pack_id, footer.seal)

    def check_frame(
        self, footer: Footer, address: Address, read: tuple[memoryview, int] | None
    ) -> None:
        """Decodes the frame of this slot, of the pack's own footer.

        `read` is bytes of the pack, and where they begin; None: they are asked of the store.
        """
        position = footer.position(address.slot)
        assert position is not None, "the caller took the slot from the footer"
        kind = int(footer.kinds[position])
        name = f"{pack_key(address.pack_id)} slot {address.slot}"
        if kind not in set(Kind):
            raise CorruptObject(name, "a known kind", f"kind {kind}")
        if read is None:
            offset, size = int(footer.offsets[position]), int(footer.sizes[position])
            read = self._range(address.pack_id, offset, size), offset
        self._decoded(footer, address, Kind(kind), read)

    def _range(self, pack_id: bytes, offset: int, size: int) -> memoryview:
        try:
            return memoryview(self._store.get(pack_key(pack_id), offset=offset, size=size))
        except ObjectNotFound as error:
            raise MissingPack(pack_id.hex()) from error


def load_footer(store: ObjectStore, pack_id: bytes) -> Footer:
    """The pack's footer, asked of the store; no key is needed.

    Raises `MissingPack`, `CorruptObject`.
    """
    key = pack_key(pack_id)
    try:
        tail, size_bytes = tail_of(store, key, _TAIL_SIZE)
        tail_offset = size_bytes - len(tail)
        trailer = _checked_trailer(pack_id, tail[-TRAILER_SIZE:], size_bytes)
        if trailer.footer_offset >= tail_offset:
            start = trailer.footer_offset - tail_offset
            data = tail[start : start + trailer.footer_size]
        else:
            data = store.get(key, offset=trailer.footer_offset, size=trailer.footer_size)
    except ObjectNotFound as error:
        raise MissingPack(pack_id.hex()) from error
    return decode_footer(key, trailer, data)


def _checked_trailer(pack_id: bytes, data: bytes, size_bytes: int) -> Trailer:
    key = pack_key(pack_id)
    trailer = decode_trailer(key, data)
    if trailer.pack_id != pack_id:
        raise CorruptObject(key, f"pack {pack_id.hex()}", f"pack {trailer.pack_id.hex()}")
    end = trailer.footer_offset + trailer.footer_size + TRAILER_SIZE
    if end != size_bytes:
        raise CorruptObject(key, f"{end} bytes", f"{size_bytes} bytes")
    return trailer


def _no_slot(address: Address) -> CorruptObject:
    return CorruptObject(pack_key(address.pack_id), f"a slot {address.slot}", "none")


def _size(footer: Footer) -> int:
    return _FOOTER_SIZE + _SLOT_SIZE * len(footer.slots)
