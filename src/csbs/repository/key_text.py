"""Region keys and recovery keys: as text, as ids, and what is derived from them.

A key is one line, made for paper: `csbs-recovery-key-1 ABCD-EFGH-...`, the 32 bytes of the key and
3 of a check as base32.  See docs/design/repository-format.md, "Key files".
"""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum

from blake3 import blake3

from csbs.repository.aead import KEY_SIZE, hkdf

_CHECK_SIZE = 3
_GROUP_SIZE = 4
_ID_SIZE = 16
_ID_INFO = b"csbs key id 1"


class KeyKind(StrEnum):
    """What wraps the keys of a repository: which file a key belongs into."""

    REGION = "region"
    RECOVERY = "recovery"

    @property
    def prefix(self) -> str:
        """What the key's line begins with."""
        return f"csbs-{self}-key-1"


def key_id(key: bytes) -> str:
    """32 hex digits that name the key and tell nothing of it."""
    return hkdf(key, info=_ID_INFO, size=_ID_SIZE).hex()


def key_text(kind: KeyKind, key: bytes) -> str:
    """The key as one line, without its end."""
    assert len(key) == KEY_SIZE, len(key)
    text = base64.b32encode(key + _check(kind, key)).decode()
    groups = [text[i : i + _GROUP_SIZE] for i in range(0, len(text), _GROUP_SIZE)]
    return f"{kind.prefix} {'-'.join(groups)}"


def recovery_key_text(key: bytes) -> str:
    """A recovery key as one line."""
    return key_text(KeyKind.RECOVERY, key)


def keys_of_text(kind: KeyKind, text: str) -> list[bytes]:
    """The keys in a file's text; empty lines and lines that begin with `#` do not count.

    Case, blanks and dashes within a key do not count either.  Raises ValueError, without any part
    of a key, for a line that is none.
    """
    lines = [line.strip() for line in text.splitlines()]
    return [_key_of(kind, line) for line in lines if line and not line.startswith("#")]


def _key_of(kind: KeyKind, line: str) -> bytes:
    prefix, _, rest = line.partition(" ")
    if prefix != kind.prefix:
        raise ValueError(f"a line does not begin with {kind.prefix!r}")
    text = "".join(rest.split()).replace("-", "").upper()
    try:
        data = base64.b32decode(text)
    except (binascii.Error, ValueError):
        data = b""
    key, check = data[:KEY_SIZE], data[KEY_SIZE:]
    if len(data) != KEY_SIZE + _CHECK_SIZE or check != _check(kind, key):
        raise ValueError("a key has a mistake, its check does not fit")
    return key


def _check(kind: KeyKind, key: bytes) -> bytes:
    return blake3(kind.prefix.encode() + key).digest()[:_CHECK_SIZE]
