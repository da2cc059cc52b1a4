"""Small secrets of the catalog, sealed under the region key: who has the database alone has none.

    sealed = key id of the region key (ASCII), 0x00, nonce, encrypted bytes, tag

What the secret is for goes in as associated data, so a row's secret opens in that row only.
"""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.clock import RandomBytes
from csbs.domain.errors import Unavailable
from csbs.repository.aead import NONCE_SIZE, Aead, hkdf
from csbs.repository.key_files import KeyFiles
from csbs.repository.key_text import key_id

_INFO = b"csbs secret box v1"


@dataclass(eq=False)
class SecretLocked(Unavailable):
    """A secret was sealed under a region key that is not in the file any more."""

    purpose: str
    file: str

    template = "{0.purpose} cannot be opened by the keys in {0.file}: make a new one"


@dataclass(frozen=True, slots=True)
class SecretBox:
    """Seals with the newest region key, opens with each that the file has."""

    files: KeyFiles
    random_bytes: RandomBytes

    def seal(self, secret: str, purpose: str) -> bytes:
        """The secret, for this purpose.  Raises `KeyFileUnusable`."""
        key = self.files.newest_region_key()
        nonce = self.random_bytes(NONCE_SIZE)
        sealed = _cipher(key).seal(nonce, secret.encode(), purpose.encode())
        return key_id(key).encode() + b"\0" + sealed

    def open(self, sealed: bytes, purpose: str) -> str:
        """What was sealed for this purpose.  Raises `SecretLocked`, `KeyFileUnusable`."""
        wanted_id, _, rest = sealed.partition(b"\0")
        key = self.files.region_key(wanted_id.decode("ascii", "replace"))
        plain = None if key is None else _cipher(key).open(rest, purpose.encode())
        if plain is None:
            raise SecretLocked(purpose, str(self.files.region_file))
        return plain.decode()


def _cipher(key: bytes) -> Aead:
    return Aead(hkdf(key, info=_INFO))
