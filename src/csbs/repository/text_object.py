"""Codec of the small text objects: magic, check, one JSON object.

See docs/design/repository-format.md, "Text objects".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from csbs.repository.errors import CorruptObject

CONFIG_MAGIC = b"CSBSCF01"
OWNER_MAGIC = b"CSBSOW01"
MANIFEST_MAGIC = b"CSBSMF01"
VOID_MAGIC = b"CSBSVO01"
TOMBSTONE_MAGIC = b"CSBSTS01"
TOMBSTONE_END_MAGIC = b"CSBSTE01"
KEY_RING_MAGIC = b"CSBSKR01"
DAMAGE_MAGIC = b"CSBSDM01"

_MAGICS = frozenset(
    {
        *(CONFIG_MAGIC, OWNER_MAGIC, KEY_RING_MAGIC, DAMAGE_MAGIC),
        *(MANIFEST_MAGIC, VOID_MAGIC, TOMBSTONE_MAGIC, TOMBSTONE_END_MAGIC),
    }
)

_MAGIC_SIZE = 8
_CHECK_SIZE = 64
#: What comes before the JSON.
HEAD_SIZE = _MAGIC_SIZE + 1 + _CHECK_SIZE + 1

Json = dict[str, Any]


def encode(magic: bytes, fields: Mapping[str, Any], *, key: bytes | None = None) -> bytes:
    """The object's bytes; `key` makes the check a MAC."""
    body = json_bytes(fields)
    return magic + b"\n" + _check(body, key) + b"\n" + body


def json_bytes(fields: Mapping[str, Any]) -> bytes:
    """One JSON object; equal ones give equal bytes."""
    return json.dumps(
        fields, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    ).encode()


def magic_of(data: bytes) -> bytes:
    """The magic that `data` begins with."""
    return data[:_MAGIC_SIZE]


def decode(name: str, magic: bytes, data: bytes, *, key: bytes | None = None) -> Json:
    """The JSON object in `data`.  Raises `CorruptObject` (with `name`) if anything is off."""
    if magic_of(data) != magic or len(data) < HEAD_SIZE:
        raise CorruptObject(name, repr(magic), repr(magic_of(data)))
    body = data[HEAD_SIZE:]
    check = b"\n" + _check(body, key) + b"\n"
    if data[_MAGIC_SIZE:HEAD_SIZE] != check:
        found = data[_MAGIC_SIZE:HEAD_SIZE].strip().decode("ascii", "backslashreplace")
        raise CorruptObject(name, f"check {check.strip().decode()}", f"check {found}")
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise CorruptObject(name, "a JSON object", str(error)) from error
    if not isinstance(fields, dict):
        raise CorruptObject(name, "a JSON object", type(fields).__name__)
    return fields


def seems_whole(data: bytes) -> bool:
    """Whether all is well as far as that can be told without keys: a MAC is not checked."""
    check, body = data[_MAGIC_SIZE + 1 : HEAD_SIZE - 1], data[HEAD_SIZE:]
    try:
        is_object = isinstance(json.loads(body), dict)
    except ValueError:
        return False
    has_mac = magic_of(data) == MANIFEST_MAGIC
    known = magic_of(data) in _MAGICS
    return known and is_object and (has_mac or check == _check(body, None))


def stated(data: bytes, name: str) -> str:
    """A text field, as the object says without being checked; empty where it says nothing."""
    try:
        fields = json.loads(data[HEAD_SIZE:])
    except ValueError:
        return ""
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else ""


def _check(body: bytes, key: bytes | None) -> bytes:
    return (blake3(body) if key is None else blake3(body, key=key)).hexdigest().encode()
