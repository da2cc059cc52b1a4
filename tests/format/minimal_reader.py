"""A reader of repositories, written from docs/design/repository-format.md alone.

It shares no code with csbs: whoever has this page, blake3 and zstandard gets the bytes back.
Used by the tests, and from a shell:  python minimal_reader.py STORE_FOLDER OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3
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


class Pack:
    def __init__(self, data: bytes, digest_key: bytes) -> None:
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
        check(holds=len(footer) == plain_size == 4 + 44 * n, what="footer size")
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
        if self.codecs[i] == 1:
            data = ZstdDecompressor().decompress(data, max_output_size=self.plain_sizes[i])
        check(holds=len(data) == self.plain_sizes[i], what="size of a frame")
        digest = blake3(data, key=self.digest_key).digest()
        check(holds=digest == self.digests[32 * i : 32 * i + 32], what="digest of a frame")
        return data


class Reader:
    def __init__(self, root: Path) -> None:
        self.root = root
        config = text_object((root / "config").read_bytes(), b"CSBSCF01")
        check(holds=config["format"] == 1, what="format")
        self.digest_key = bytes.fromhex(config["digest_key"])
        self.mac_key = bytes.fromhex(config["mac_key"])
        self.packs: dict[str, Pack] = {}

    def manifests(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.root / "manifests").glob("*/*")):
            if ".tombstone-" in path.name or self.is_deleted(path):
                continue
            data = path.read_bytes()
            if data[:8] == b"CSBSVO01":
                continue
            yield text_object(data, b"CSBSMF01", self.mac_key)

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
            self.packs[pack_id] = Pack(data, self.digest_key)
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


def main(store: str, output: str) -> None:
    reader = Reader(Path(store))
    for manifest in reader.manifests():
        for image in manifest["images"]:
            name = f"{manifest['backup_id']}-{image['id']}.raw"
            (Path(output) / name).write_bytes(reader.disk(image))


if __name__ == "__main__":
    main(*sys.argv[1:])
