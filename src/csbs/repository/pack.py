"""Codec of packs: header, footer, trailer.  Pure; see docs/design/repository-format.md, "Pack"."""

from __future__ import annotations

import re
import struct
import threading
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import zstandard
from blake3 import blake3

from csbs.repository.errors import CorruptObject
from csbs.repository.frame_cipher import SALT_SIZE, PackCipher, PackSeal
from csbs.repository.objectstore.base import Bytes

#: Of an object that holds a pack; the second group is the pack's id.
PACK_KEY = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})")

HEADER_MAGIC = b"CSBSPK01"
TRAILER_MAGIC = b"CSBSPT01"

#: Keeps a footer below 400 kB and the marks of one pack within 1 KiB.
SLOTS_MAX = 8192

#: No frame is larger when decoded: a block has this size, nodes are smaller.
FRAME_PLAIN_SIZE_MAX = 64 * 1024

_HEADER = struct.Struct("<8s16sIBB2x16s32s")
_TRAILER = struct.Struct("<8s16sIIQII32s")
_CHECK_SIZE = 32
HEADER_SIZE = _HEADER.size
TRAILER_SIZE = _TRAILER.size + _CHECK_SIZE

_BASE_COUNT_SIZE = 4
_SLOT_ENTRY_SIZE = 2 + 1 + 1 + 4 + 4 + 32
#: Who the frames are encrypted by; a copy of it ends the footer of an encrypted pack.
_SEAL = struct.Struct(f"<16s{SALT_SIZE}s")
_NO_SEAL = PackSeal(bytes(16), bytes(SALT_SIZE))
#: Frames are joined up to this size; small beside a pack.
_CHUNK_SIZE = 1024 * 1024
#: What `zstandard.frame_content_size` answers where the frame does not tell.
_SIZE_NOT_KNOWN = -1

_of_thread = threading.local()

Columns = npt.NDArray[np.int64]


def pack_key(pack_id: bytes) -> str:
    """Key of the object that holds this pack."""
    name = pack_id.hex()
    return f"packs/{name[:2]}/{name}"


class Content(IntEnum):
    """What a pack holds."""

    BLOCKS = 1
    NODES = 2


class Kind(IntEnum):
    """What a frame is."""

    BLOCK = 1
    NODE = 2


class Cipher(IntEnum):
    """How a pack's frames are encrypted."""

    NONE = 0
    AES_256_GCM = 1


class Codec(IntEnum):
    """How a frame's bytes are stored."""

    RAW = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One block or node, encoded; `digest` is of the plain bytes."""

    kind: Kind
    codec: Codec
    data: bytes
    plain_size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Trailer:
    """The fixed end of a pack; `check` is of all bytes before it."""

    pack_id: bytes
    generation: int
    slot_count: int
    footer_offset: int
    footer_size: int
    footer_plain_size: int
    footer_check: bytes
    check: bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the frames of a pack are; columns have an entry for each frame.

    `digests` is one byte string of 32 bytes each.  `position` finds the entry of a slot.  `seal` is
    None where the frames are not encrypted.
    """

    slots: Columns
    kinds: Columns
    codecs: Columns
    offsets: Columns
    sizes: Columns
    plain_sizes: Columns
    digests: bytes
    seal: PackSeal | None = None

    def position(self, slot: int) -> int | None:
        """Index of `slot` in the columns; None if the pack has no such slot."""
        if slot < len(self.slots) and self.slots[slot] == slot:
            return slot  # a pack from which nothing was taken away has them all
        found = int(np.searchsorted(self.slots, slot))
        return found if found < len(self.slots) and self.slots[found] == slot else None

    def near(self, slots: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """For each slot its index in the columns, or some other one if the pack has it not."""
        return np.minimum(np.searchsorted(self.slots, slots), max(len(self.slots) - 1, 0))

    def holds(
        self, slots: npt.NDArray[np.uint16], kind: Kind, digests: bytes
    ) -> npt.NDArray[np.bool_]:
        """For each slot whether it has a frame of this kind with this digest of the joined ones."""
        if not len(self.slots):
            return np.zeros(len(slots), np.bool_)
        positions = self.near(slots)
        words = np.frombuffer(self.digests, np.uint64).reshape(-1, 4)[positions]
        equal = (words == np.frombuffer(digests, np.uint64).reshape(-1, 4)).all(axis=1)
        held: npt.NDArray[np.bool_] = (self.slots[positions] == slots) & equal
        held &= self.kinds[positions] == kind
        return held

    def digest(self, position: int) -> bytes:
        """Digest of the frame at this position (not slot)."""
        return self.digests[32 * position : 32 * position + 32]


class PackBuilder:
    """Puts a pack together, frame by frame, each encrypted by `cipher` if there is one.

    Frames are joined as they come: a thousand small buffers would cost each later step a thousand
    calls, for every one of which the interpreter's lock is given up and taken again.
    """

    def __init__(self, pack_id: bytes, content: Content, cipher: PackCipher | None = None) -> None:
        self.pack_id = pack_id
        self.content = content
        self._cipher = cipher
        self.digests: list[bytes] = []
        self.size_bytes = 0
        self._chunks = [bytearray(_encode_header(pack_id, content, cipher))]
        self._kinds = bytearray()
        self._codecs = bytearray()
        self._sizes: list[int] = []
        self._plain_sizes: list[int] = []

    @property
    def slot_count(self) -> int:
        """Number of frames so far."""
        return len(self.digests)

    def add(self, frame: Frame) -> int:
        """Adds a frame; returns its slot."""
        assert self.slot_count < SLOTS_MAX, self.slot_count
        if len(self._chunks[-1]) >= _CHUNK_SIZE:
            self._chunks.append(bytearray())
        data = self._stored(frame)
        self._chunks[-1] += data
        self.size_bytes += len(data)
        self._kinds.append(frame.kind)
        self._codecs.append(frame.codec)
        self._sizes.append(len(data))
        self._plain_sizes.append(frame.plain_size)
        self.digests.append(frame.digest)
        return self.slot_count - 1

    def finish(self) -> list[Bytes]:
        """All parts of the pack, in order; the last is its check."""
        plain_footer = self._plain_footer()
        footer = zstandard.ZstdCompressor(level=1).compress(plain_footer)
        trailer = _TRAILER.pack(
            TRAILER_MAGIC,
            self.pack_id,
            0,
            self.slot_count,
            HEADER_SIZE + self.size_bytes,
            len(footer),
            len(plain_footer),
            blake3(footer).digest(),
        )
        parts: list[Bytes] = [*self._chunks, footer, trailer]
        check = blake3()
        for part in parts:
            check.update(part)
        return [*parts, check.digest()]

    def _stored(self, frame: Frame) -> bytes:
        """The frame's bytes, encrypted here because only here its slot is known."""
        if self._cipher is None:
            return frame.data
        return self._cipher.seal_frame(self.slot_count, frame.kind, frame.plain_size, frame.data)

    def _plain_footer(self) -> bytes:
        return b"".join(
            (
                struct.pack("<I", 0),
                np.arange(self.slot_count, dtype="<u2").tobytes(),
                self._kinds,
                self._codecs,
                np.array(self._sizes, dtype="<u4").tobytes(),
                np.array(self._plain_sizes, dtype="<u4").tobytes(),
                *self.digests,
                b"" if self._cipher is None else _encode_seal(self._cipher.seal),
            )
        )


def _encode_header(pack_id: bytes, content: Content, cipher: PackCipher | None) -> bytes:
    how, seal = (Cipher.NONE, _NO_SEAL) if cipher is None else (Cipher.AES_256_GCM, cipher.seal)
    return _HEADER.pack(HEADER_MAGIC, pack_id, 0, content, how, seal.data_key_id, seal.salt)


def _encode_seal(seal: PackSeal) -> bytes:
    return _SEAL.pack(seal.data_key_id, seal.salt)


def decode_trailer(name: str, data: bytes) -> Trailer:
    """The trailer from the last `TRAILER_SIZE` bytes of a pack; `name` is for errors."""
    if len(data) != TRAILER_SIZE:
        raise CorruptObject(name, f"a trailer of {TRAILER_SIZE} bytes", f"{len(data)} bytes")
    magic, *fields = _TRAILER.unpack_from(data)
    if magic != TRAILER_MAGIC:
        raise CorruptObject(name, repr(TRAILER_MAGIC), repr(magic))
    pack_id, generation, slot_count, *footer, footer_check = fields
    trailer = Trailer(
        pack_id,
        generation,
        slot_count,
        footer[0],
        footer[1],
        footer[2],
        footer_check,
        data[_TRAILER.size :],
    )
    plain_size = _BASE_COUNT_SIZE + _SLOT_ENTRY_SIZE * trailer.slot_count
    plain_sizes = (plain_size, plain_size + _SEAL.size)
    if trailer.slot_count > SLOTS_MAX or trailer.footer_plain_size not in plain_sizes:
        raise CorruptObject(
            name,
            f"at most {SLOTS_MAX} slots and their footer",
            f"{trailer.slot_count} slots, {trailer.footer_plain_size} bytes",
        )
    return trailer


def decode_footer(name: str, trailer: Trailer, data: bytes) -> Footer:
    """The footer from its stored bytes, after it was checked against the trailer."""
    if blake3(data).digest() != trailer.footer_check:
        raise CorruptObject(name, "the footer that its trailer names", "another")
    plain = decode_frame(name, Codec.ZSTD, data, trailer.footer_plain_size)
    if plain[:_BASE_COUNT_SIZE] != bytes(_BASE_COUNT_SIZE):
        raise CorruptObject(name, "no deltas", f"{plain[0]} bases")
    count = trailer.slot_count
    columns: list[Columns] = []
    offset = _BASE_COUNT_SIZE
    for dtype, width in (("<u2", 2), ("u1", 1), ("u1", 1), ("<u4", 4), ("<u4", 4)):
        columns.append(np.frombuffer(plain, dtype, count, offset).astype(np.int64))
        offset += width * count
    slots, kinds, codecs, sizes, plain_sizes = columns
    offsets = HEADER_SIZE + np.cumsum(sizes) - sizes
    if HEADER_SIZE + int(sizes.sum()) != trailer.footer_offset:
        raise CorruptObject(name, f"frames up to {trailer.footer_offset}", "another sum of sizes")
    if bool((np.diff(slots) <= 0).any()):
        raise CorruptObject(name, "ascending slots", "others")
    if bool((plain_sizes > FRAME_PLAIN_SIZE_MAX).any()):
        raise CorruptObject(name, f"frames of at most {FRAME_PLAIN_SIZE_MAX} bytes", "larger ones")
    digests, seal = plain[offset : offset + 32 * count], plain[offset + 32 * count :]
    return Footer(
        slots,
        kinds,
        codecs,
        offsets,
        sizes,
        plain_sizes,
        digests,
        PackSeal(*_SEAL.unpack(seal)) if seal else None,
    )


def decode_frame(name: str, codec: int, data: Bytes, plain_size: int) -> bytes:
    """The plain bytes of a frame; whether they are the right ones, their digest says."""
    if codec == Codec.RAW:
        plain = bytes(data)
    elif codec == Codec.ZSTD:
        try:
            # Asked first: a damaged header may claim a size that no memory has.
            if zstandard.frame_content_size(data) not in (plain_size, _SIZE_NOT_KNOWN):
                raise CorruptObject(name, f"a frame of {plain_size} plain bytes", "another size")
            plain = _decompressor().decompress(data, max_output_size=plain_size)
        except zstandard.ZstdError as error:
            raise CorruptObject(name, "a zstd frame", str(error)) from error
    else:
        raise CorruptObject(name, "codec 0 or 1", f"codec {codec}")
    if len(plain) != plain_size:
        raise CorruptObject(name, f"{plain_size} plain bytes", f"{len(plain)} bytes")
    return plain


def _decompressor() -> zstandard.ZstdDecompressor:
    """One for each thread: they are costly to make, and may not be shared."""
    found: zstandard.ZstdDecompressor | None = getattr(_of_thread, "decompressor", None)
    if found is None:
        found = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return found
