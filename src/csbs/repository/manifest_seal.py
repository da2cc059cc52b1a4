"""Seals what describes a backup: names, servers, disks.

Equal facts of one backup give equal bytes, so that a commit can be repeated: the nonce is made
from what is sealed (and tells nothing of it), as in SIV modes.
"""

from __future__ import annotations

from blake3 import blake3

from csbs.repository.aead import KEY_SIZE, NONCE_SIZE, Aead, hkdf

_INFO = b"csbs manifest seal 1"


class ManifestSeal:
    """The seal of one repository; may be used by several threads."""

    def __init__(self, seal_key: bytes) -> None:
        keys = hkdf(seal_key, info=_INFO, size=2 * KEY_SIZE)
        self._aead = Aead(keys[:KEY_SIZE])
        self._nonce_key = keys[KEY_SIZE:]

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """The sealed bytes; `associated` names the backup."""
        nonce = blake3(associated + b"\n" + plain, key=self._nonce_key).digest(NONCE_SIZE)
        return self._aead.seal(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        """The plain bytes; None if this seal did not make them, or not for this backup."""
        return self._aead.open(sealed, associated)
