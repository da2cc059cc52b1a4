"""AES-256-GCM and HKDF-SHA256, as the format uses them.

`cryptography` is imported at the first use: a plain repository does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csbs.repository.objectstore.base import Bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16


class Aead:
    """One key; may be used by several threads."""

    def __init__(self, key: bytes) -> None:
        self._cipher = _aes_gcm(key)

    def seal(self, nonce: bytes, plain: Bytes, associated: bytes) -> bytes:
        """The nonce, the encrypted bytes and the tag."""
        return nonce + self._cipher.encrypt(nonce, plain, associated)

    def open(self, sealed: Bytes, associated: bytes) -> bytes | None:
        """The plain bytes of what `seal` made; None if it did not make these, or not for this."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  see above

        view = memoryview(sealed)
        if len(view) < NONCE_SIZE + TAG_SIZE:
            return None
        try:
            return self._cipher.decrypt(view[:NONCE_SIZE], view[NONCE_SIZE:], associated)
        except InvalidTag:
            return None


def hkdf(key: bytes, *, info: bytes, salt: bytes = b"", size: int = KEY_SIZE) -> bytes:
    """HKDF with SHA-256 (RFC 5869); an empty salt counts as 32 zeroes, as there."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  see above
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415  see above

    return HKDF(SHA256(), size, salt or None, info).derive(key)


def _aes_gcm(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  see above

    assert len(key) == KEY_SIZE, len(key)
    return AESGCM(key)
