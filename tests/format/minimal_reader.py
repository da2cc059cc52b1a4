"""A reader of repositories, written from docs/design/repository-format.md alone.

It shares no code with csbs: whoever has this page, blake3 and zstandard gets the bytes back; with
cryptography and one line of a key file those of an encrypted repository too.
Used by the tests, and from a shell:  python minimal_reader.py STORE_FOLDER OUTPUT_FOLDER [KEY_FILE]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from zstandard import ZstdDecompressor

BLOCK = 65536
HOLE, ZERO, STORED = 0, 1, 2


class Damaged(Exception):
    """Something is not as the format says."""


def check(*, holds: bool, what: str) -> None:
    if not holds:
        raise Damaged(what)


def text_object(data: bytes, magic: bytes, key: bytes | None = None) -> dict[str, Any]:
    check(holds=data[:9] == magic + b"\n" and data[73:74] == b"\n", what=f"{magic!r}")
    body = data[74:]
    hasher = blake3(body) if key is None else blake3(body, key=key)
    check(holds=hasher.hexdigest().encode() == data[9:73], what="check of a text object")
    fields: dict[str, Any] = json.loads(body)
    return fields


def hkdf(key: bytes, info: str, *, salt: bytes = b"", size: int = 32) -> bytes:
    extracted = hmac.digest(salt or bytes(32), key, hashlib.sha256)
    made, last = b"", b""
    while len(made) < size:
        last = hmac.digest(extracted, last + info.encode() + bytes([len(made) // 32 + 1]), "sha256")
        made += last
    return made[:size]


def opened(key: bytes, sealed: bytes, associated: bytes, what: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except InvalidTag:
        raise Damaged(what) from None


def key_of_line(line: str) -> tuple[str, bytes]:
    word, _, rest = line.strip().partition(" ")
    data = base64.b32decode(rest.replace("-", "").replace(" ", "").upper())
    check(holds=blake3(word.encode() + data[:32]).digest()[:3] == data[32:], what="key file")
    return word, data[:32]


class KeyRing:
    def __init__(self, fields: dict[str, Any], line: str) -> None:
        self.fields = fields
        word, self.key = key_of_line(line)
        self.by_region = word == "csbs-region-key-1"
        self.wrapped_by = fields["region_key" if self.by_region else "recovery_key"]["id"]
        check(holds=hkdf(self.key, "csbs key id 1", size=16).hex() == self.wrapped_by, what="key")
        secrets = [
            (each["use"], each["id"], self.unwrapped(place, each))
            for place, each in enumerate(fields["keys"])
            if self.by_region or each["use"] != "recovery"
        ]
        self.of_use = {use: secret for use, _, secret in secrets}
        self.data = {UUID(id_).bytes: secret for use, id_, secret in secrets if use == "data"}

    def unwrapped(self, place: int, each: dict[str, Any]) -> bytes:
        fields = self.fields
        parts = ["CSBSKR01", fields["repository_id"], fields["number"], len(fields["keys"]), place]
        parts += [each["id"], each["use"], each["since"], self.wrapped_by]
        associated = " ".join(map(str, parts)).encode()
        if self.by_region:
            repository = UUID(fields["repository_id"]).bytes
            key = hkdf(self.key, "csbs region wrap 1", salt=repository)
            return opened(key, bytes.fromhex(each["region"]), associated, "a wrapped key")
        wrapped = bytes.fromhex(each["recovery"])
        private = X25519PrivateKey.from_private_bytes(hkdf(self.key, "csbs recovery private 1"))
        shared = private.exchange(X25519PublicKey.from_public_bytes(wrapped[:32]))
        shared += hkdf(self.key, "csbs recovery authentication 1")
        salt = wrapped[:32] + private.public_key().public_bytes_raw()
        key = hkdf(shared, "csbs recovery wrap 1", salt=salt)
        return opened(key, bytes(12) + wrapped[32:], associated, "a wrapped key")


class Pack:
    def __init__(self, data: bytes, digest_key: bytes, ring: KeyRing | None) -> None:
        self.data, self.digest_key = data, digest_key
        check(holds=blake3(data[:-32]).digest() == data[-32:], what="pack check")
        magic, pack_id, generation, self.count, offset, size, plain_size = struct.unpack_from(
            "<8s16sIIQII", data, len(data) - 112
        )
        check(holds=magic == b"CSBSPT01" and data[:8] == b"CSBSPK01", what="magic of a pack")
        check(holds=data[8:28] == pack_id + struct.pack("<I", generation), what="pack id")
        check(holds=offset + size + 112 == len(data), what="footer position")
        stored = data[offset : offset + size]
        check(holds=blake3(stored).digest() == data[-64:-32], what="footer check")
        footer = ZstdDecompressor().decompress(stored, max_output_size=plain_size)
        n = self.count
        more = 0 if ring is None else 48
        check(holds=len(footer) == plain_size == 4 + 44 * n + more, what="footer size")
        check(holds=data[29] == (ring is not None), what="cipher of a pack")
        check(holds=ring is None or footer[4 + 44 * n :] == data[32:80], what="copy of the seal")
        self.id, self.key = pack_id, None
        if ring is not None:
            self.key = hkdf(ring.data[data[32:48]], "csbs frame key 1", salt=data[48:80])
        columns = struct.unpack(f"<I{n}H{n}B{n}B{n}I{n}I", footer[: 4 + 12 * n])
        self.slots = columns[1 : 1 + n]
        self.kinds, self.codecs, self.sizes, self.plain_sizes = (
            columns[1 + i * n : 1 + (i + 1) * n] for i in range(1, 5)
        )
        self.digests = footer[4 + 12 * n :]

    def frame(self, slot: int, kind: int) -> bytes:
        i = self.slots.index(slot)
        check(holds=self.kinds[i] == kind, what="kind of a frame")
        start = 80 + sum(self.sizes[:i])
        data = self.data[start : start + self.sizes[i]]
        if self.key is not None:
            place = struct.pack("<HBI", slot, kind, self.plain_sizes[i])
            data = opened(self.key, data, b"CSBSPK01" + self.id + place, "an encrypted frame")
        if self.codecs[i] == 1:
            data = ZstdDecompressor().decompress(data, max_output_size=self.plain_sizes[i])
        check(holds=len(data) == self.plain_sizes[i], what="size of a frame")
        digest = blake3(data, key=self.digest_key).digest()
        check(holds=digest == self.digests[32 * i : 32 * i + 32], what="digest of a frame")
        return data


class Reader:
    def __init__(self, root: Path, key_line: str = "") -> None:
        self.root, self.ring = root, None
        config = text_object((root / "config").read_bytes(), b"CSBSCF01")
        check(holds=config["format"] == 1, what="format")
        self.repository_id = config["repository_id"]
        if config["cipher"] is None:
            self.digest_key = bytes.fromhex(config["digest_key"])
            self.mac_key = bytes.fromhex(config["mac_key"])
        else:
            check(holds=config["cipher"] == "aes-256-gcm", what="cipher")
            path = max((root / "keys" / self.repository_id).iterdir())
            fields = text_object(path.read_bytes(), b"CSBSKR01")
            named = (self.repository_id, f"{fields['number']:08d}")
            check(holds=(fields["repository_id"], path.name) == named, what="key of a ring")
            self.ring = KeyRing(fields, key_line)
            self.digest_key = self.ring.of_use["digest"]
            self.mac_key = self.ring.of_use["mac"]
        self.packs: dict[str, Pack] = {}

    def manifests(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.root / "manifests").glob("*/*")):
            if ".tombstone-" in path.name or self.is_deleted(path):
                continue
            data = path.read_bytes()
            if data[:8] == b"CSBSVO01":
                continue
            fields = text_object(data, b"CSBSMF01", self.mac_key)
            if self.ring is not None:
                fields["facts"] = self.facts(path.name, fields["sealed"])
            yield fields

    def facts(self, name: str, sealed: str) -> dict[str, Any]:
        assert self.ring is not None
        key = hkdf(self.ring.of_use["seal"], "csbs manifest seal 1", size=64)[:32]
        associated = f"CSBSMF01 {self.repository_id} {name}".encode()
        facts: dict[str, Any] = json.loads(
            opened(key, base64.b64decode(sealed), associated, "sealed facts")
        )
        return facts

    def is_deleted(self, path: Path) -> bool:
        for tombstone in path.parent.glob(f"{path.name}.tombstone-????"):
            end = tombstone.with_name(f"{tombstone.name}.end")
            if not end.exists():
                return True
            if text_object(end.read_bytes(), b"CSBSTE01")["end"] != "undeleted":
                return True
        return False

    def frame(self, pack_id: str, slot: int, kind: int) -> bytes:
        if pack_id not in self.packs:
            data = (self.root / "packs" / pack_id[:2] / pack_id).read_bytes()
            self.packs[pack_id] = Pack(data, self.digest_key, self.ring)
        return self.packs[pack_id].frame(slot, kind)

    def disk(self, image: dict[str, Any]) -> bytes:
        size, root = image["size_bytes"], image["root"]
        disk = bytearray(-(-size // BLOCK) * BLOCK)
        if root is not None:
            plain = self.frame(root["pack"], root["slot"], 2)
            digest = blake3(plain, key=self.digest_key).hexdigest()
            check(holds=digest == image["root_digest"], what="root digest")
            self.walk(disk, 0, plain)
        return bytes(disk[:size])

    def walk(self, disk: bytearray, base: int, node: bytes) -> None:
        magic, version, level, pack_count = struct.unpack_from("<4sBBH", node)
        check(holds=(magic, version) == (b"CSMN", 1), what="map node")
        at = 8 + 16 * pack_count
        packs = [node[i : i + 16].hex() for i in range(8, at, 16)]
        states = node[at : at + 512]
        stored = [i for i, state in enumerate(states) if state == STORED]
        d, at = len(stored), at + 512
        for place, i in enumerate(stored):
            ordinal = node[at + place] | node[at + d + place] << 8
            slot = node[at + 2 * d + place] | node[at + 3 * d + place] << 8
            first = base + i * 512**level
            if level == 0:
                disk[first * BLOCK : (first + 1) * BLOCK] = self.frame(packs[ordinal], slot, 1)
            else:
                self.walk(disk, first, self.frame(packs[ordinal], slot, 2))


def main(store: str, output: str, key_file: str = "") -> None:
    lines = Path(key_file).read_text(encoding="utf-8").splitlines() if key_file else [""]
    reader = Reader(Path(store), next(line for line in lines if not line.startswith("#")))
    for manifest in reader.manifests():
        for image in manifest["images"]:
            name = f"{manifest['backup_id']}-{image['id']}.raw"
            (Path(output) / name).write_bytes(reader.disk(image))


if __name__ == "__main__":
    main(*sys.argv[1:])
