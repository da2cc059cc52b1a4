"""Encryption of frames: AES-256-GCM under a key of the pack's own.

    data key ── HKDF(salt of the pack) ──► frame key ── random nonce ──► nonce, bytes, tag
                                                     └─ format, pack id, slot, kind, plain size

What is associated makes a frame worth nothing elsewhere: in another slot or pack, or as another
kind.  See docs/design/repository-format.md, "Encrypted frames".
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from csbs.domain.clock import RandomBytes
from csbs.repository.aead import NONCE_SIZE, TAG_SIZE, Aead, hkdf
from csbs.repository.errors import CorruptObject
from csbs.repository.objectstore.base import Bytes

SALT_SIZE = 32

#: What encryption adds to a frame.
SEAL_SIZE = NONCE_SIZE + TAG_SIZE

_FRAME_KEY_INFO = b"csbs frame key 1"
#: Format (the magic of the pack), pack id, slot, kind, plain size.
_ASSOCIATED = struct.Struct("<8s16sHBI")
_FORMAT = b"CSBSPK01"

#: Ciphers of packs that were read last: some 1 KiB each, and 5 microseconds to make.
CIPHERS_MAX = 1024


@dataclass(frozen=True, slots=True)
class PackSeal:
    """By what the frames of a pack are encrypted: the data key's id (16 bytes) and the salt."""

    data_key_id: bytes
    salt: bytes


class PackCipher:
    """Seals and opens the frames of one pack; may be used by several threads."""

    def __init__(
        self, data_key: bytes, pack_id: bytes, seal: PackSeal, random_bytes: RandomBytes
    ) -> None:
        self.seal = seal
        self._pack_id = pack_id
        self._random_bytes = random_bytes
        self._aead = Aead(hkdf(data_key, salt=seal.salt, info=_FRAME_KEY_INFO))

    def seal_frame(self, slot: int, kind: int, plain_size: int, data: Bytes) -> bytes:
        """The frame as it is stored; with a new nonce at each call."""
        nonce = self._random_bytes(NONCE_SIZE)
        return self._aead.seal(nonce, data, self._associated(slot, kind, plain_size))

    def open_frame(self, name: str, slot: int, kind: int, plain_size: int, stored: Bytes) -> bytes:
        """The frame's bytes, perhaps compressed; raises `CorruptObject` (with `name`)."""
        data = self._aead.open(stored, self._associated(slot, kind, plain_size))
        if data is None:
            found = "other bytes, or those of another place"
            raise CorruptObject(name, "the frame that was encrypted there", found)
        return data

    def _associated(self, slot: int, kind: int, plain_size: int) -> bytes:
        return _ASSOCIATED.pack(_FORMAT, self._pack_id, slot, kind, plain_size)


class DataKeys:
    """The data keys of one repository, by id; may be used by several threads."""

    def __init__(
        self,
        keys: Mapping[bytes, bytes],
        current_id: bytes,
        random_bytes: RandomBytes,
        *,
        ciphers_max: int = CIPHERS_MAX,
    ) -> None:
        """`current_id` is the key of new packs; `ciphers_max` bounds those that are kept."""
        assert current_id in keys, current_id
        self.current_id = current_id
        self._keys = dict(keys)
        self._random_bytes = random_bytes
        self._ciphers: OrderedDict[tuple[bytes, PackSeal], PackCipher] = OrderedDict()
        self._ciphers_max = ciphers_max
        self._lock = threading.Lock()

    def new_cipher(self, pack_id: bytes) -> PackCipher:
        """For a new pack, with a salt of its own."""
        seal = PackSeal(self.current_id, self._random_bytes(SALT_SIZE))
        return PackCipher(self._keys[self.current_id], pack_id, seal, self._random_bytes)

    def cipher(self, name: str, pack_id: bytes, seal: PackSeal) -> PackCipher:
        """For a pack that is there; raises `CorruptObject` (with `name`) if its key is unknown."""
        with self._lock:
            found = self._ciphers.get((pack_id, seal))
            if found is not None:
                self._ciphers.move_to_end((pack_id, seal))
                return found
        data_key = self._keys.get(seal.data_key_id)
        if data_key is None:
            unknown = f"data key {UUID(bytes=seal.data_key_id)}, which it lacks"
            raise CorruptObject(name, "a data key of the key ring", unknown)
        made = PackCipher(data_key, pack_id, seal, self._random_bytes)
        with self._lock:
            self._ciphers[pack_id, seal] = made
            if len(self._ciphers) > self._ciphers_max:
                self._ciphers.popitem(last=False)
        return made
