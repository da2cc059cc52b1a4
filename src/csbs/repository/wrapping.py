"""Wrapping: a key of a repository, sealed so that the region key or the recovery key opens it.

The region key is at hand whenever the repository is open: plain AES-256-GCM.  The recovery key is
not, and yet each new data key must be wrapped by it; so it wraps to a public key (X25519).  That
alone would let anybody who may write to the store wrap keys of his own: what is derived from the
shared point is mixed with `authentication`, which only who has a key of the repository knows.

    recovery key ──HKDF──► private ──► public ┐ `RecoveryLock`, 64 bytes; it lies in the
                 └─HKDF──► authentication ────┘ key ring, wrapped by the region key
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from csbs.domain.clock import RandomBytes
from csbs.repository.aead import KEY_SIZE, NONCE_SIZE, Aead, hkdf
from csbs.repository.key_text import key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_REGION_INFO = b"csbs region wrap 1"
_PRIVATE_INFO = b"csbs recovery private 1"
_AUTHENTICATION_INFO = b"csbs recovery authentication 1"
_RECOVERY_INFO = b"csbs recovery wrap 1"
#: Each box has a key of its own, so its nonce says nothing.
_BOX_NONCE = bytes(NONCE_SIZE)


class RegionWrap:
    """Wraps and unwraps by the region key; `salt` is the repository's id (16 bytes)."""

    def __init__(self, region_key: bytes, salt: bytes) -> None:
        self.key_id = key_id(region_key)
        self._aead = Aead(hkdf(region_key, salt=salt, info=_REGION_INFO))

    def wrap(self, plain: bytes, associated: bytes, random_bytes: RandomBytes) -> bytes:
        """The wrapped bytes."""
        return self._aead.seal(random_bytes(NONCE_SIZE), plain, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes | None:
        """The plain bytes; None if this key did not wrap them, or not for this."""
        return self._aead.open(wrapped, associated)


@dataclass(frozen=True, slots=True)
class RecoveryLock:
    """Wraps so that the recovery key can unwrap."""

    public: bytes = field(repr=False)
    authentication: bytes = field(repr=False)

    @staticmethod
    def from_bytes(data: bytes) -> RecoveryLock:
        """The lock that `to_bytes` gave.  Raises ValueError for another size."""
        if len(data) != 2 * KEY_SIZE:
            raise ValueError(f"a recovery lock of {len(data)} bytes")
        return RecoveryLock(data[:KEY_SIZE], data[KEY_SIZE:])

    def to_bytes(self) -> bytes:
        """As the key ring has it."""
        return self.public + self.authentication

    def wrap(self, plain: bytes, associated: bytes, random_bytes: RandomBytes) -> bytes:
        """The wrapped bytes: a public key for this one box, the encrypted bytes, the tag."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415  see aead
            X25519PublicKey,
        )

        once = _private(random_bytes(KEY_SIZE))
        once_public = once.public_key().public_bytes_raw()
        shared = once.exchange(X25519PublicKey.from_public_bytes(self.public))
        sealed = self._aead(shared, once_public).seal(_BOX_NONCE, plain, associated)
        return once_public + sealed[NONCE_SIZE:]

    def _aead(self, shared: bytes, once_public: bytes) -> Aead:
        key, salt = shared + self.authentication, once_public + self.public
        return Aead(hkdf(key, salt=salt, info=_RECOVERY_INFO))


class RecoveryUnwrap:
    """Unwraps by the recovery key."""

    def __init__(self, recovery_key: bytes) -> None:
        self.key_id = key_id(recovery_key)
        self._private = _private(hkdf(recovery_key, info=_PRIVATE_INFO))
        self.lock = RecoveryLock(
            self._private.public_key().public_bytes_raw(),
            hkdf(recovery_key, info=_AUTHENTICATION_INFO),
        )

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes | None:
        """The plain bytes; None if they were not wrapped for this key, or not for this."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415  see aead
            X25519PublicKey,
        )

        once_public, sealed = wrapped[:KEY_SIZE], wrapped[KEY_SIZE:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(once_public))
        except ValueError:  # too short, or a point that gives nothing away
            return None
        aead = self.lock._aead(shared, once_public)  # noqa: SLF001  both sides of one box
        return aead.open(_BOX_NONCE + sealed, associated)


def _private(key: bytes) -> X25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415  see aead
        X25519PrivateKey,
    )

    return X25519PrivateKey.from_private_bytes(key)
