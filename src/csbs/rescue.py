#!/usr/bin/env python3
"""csbs-rescue: reads backups from a bare copy of a csbs store, with nothing of csbs installed.

For the worst day: one file, to be kept beside the backups.  It needs Python 3.9 or newer and the
Python module `zstandard`, for an encrypted repository `cryptography` and a key too; `blake3` is
used to check what is read if it is there.  It was written from docs/design/repository-format.md
alone, imports nothing of csbs, and never writes to the store.

    python3 rescue.py STORE list
    python3 rescue.py STORE restore BACKUP vda disk.img
    python3 rescue.py STORE show BACKUP --xml > server.xml
    python3 rescue.py --key-file recovery.key STORE list

STORE is the folder that holds `config`, `manifests` and `packs`, or the folder above it.  Exit
codes are those of csbs: 0 done, 2 usage, 3 not found, 5 refused, 6 no key, 8 damaged.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import struct
import sys
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import zstandard

try:
    from blake3 import blake3
except ImportError:  # reads without checking
    blake3 = None  # type: ignore[assignment,misc]  # it is asked for before each use

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:  # reads plain repositories
    HKDF = None  # type: ignore[assignment,misc]  # it is asked for before each use

FORMAT = 1
BLOCK_SIZE = 65536
ENTRIES = 512

HEADER = struct.Struct("<8s16sIBB2x16s32s")
TRAILER = struct.Struct("<8s16sIIQII32s32s")
NODE_HEADER = struct.Struct("<4sBBH")
FRAME_NAME = struct.Struct("<8s16sHBI")
CHECK_SIZE = 64  # hex digits
KEY_SIZE, KEY_CHECK_SIZE = 32, 3
FOOTER_ROW_SIZE = 44
HOLE, ZERO, STORED, DAMAGED = range(4)
RAW, ZSTD = 0, 1
BLOCK, NODE = 1, 2

MANIFEST_NAME = re.compile(r"(?P<owner>\d{8})-(?P<backup>[0-9a-f-]{36})")
TOMBSTONE_NAME = re.compile(r"(?P<manifest>.+)\.tombstone-\d{4}")

#: The last segment of a key ring's key, or an owner's, for `glob`.
NUMBER = "[0-9]" * 8

#: A footer of a full pack takes 2 MB; an open pack takes a file descriptor.
PACKS_OPEN_MAX = 64


class Failed(Exception):
    """What ends the program, with its exit code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class Damaged(Failed):
    """Bytes are missing, or are not what they should be."""

    def __init__(self, why: str) -> None:
        super().__init__(why, 8)


# -- text objects ---------------------------------------------------------------------------------


def read_text_object(path: Path, key: bytes | None = None) -> tuple[str, dict[str, Any]]:
    """Its magic and its JSON.  `key`: of the MAC; None: its check is not keyed."""
    try:
        magic, check, body = path.read_bytes().split(b"\n", 2)
        value = json.loads(body)
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: {error}") from error
    if not isinstance(value, dict) or len(check) != CHECK_SIZE:
        raise Damaged(f"{path}: no text object")
    if value.get("format", FORMAT) > FORMAT:
        raise Failed(f"{path}: format {value['format']} is newer than this program", 5)
    if blake3 is not None:
        keyed = key is not None and magic == b"CSBSMF01"
        hasher = blake3(body, key=key) if keyed and key else blake3(body)
        if hasher.hexdigest().encode() != check:
            raise Damaged(f"{path}: its check does not fit")
    return magic.decode("ascii", "replace"), value


def read_twins(folder: Path, key: str, warnings: list[str]) -> tuple[str, dict[str, Any]]:
    """Like `read_text_object`; where the object is lost its twin is read."""
    try:
        return read_text_object(folder / key)
    except Damaged as error:
        lost = error
    try:
        found = read_text_object(folder / "twins" / key)
    except Damaged:
        raise lost from None
    warnings.append(f"{lost}; its twin was read")
    return found


def newest_of_twins(folder: Path, prefix: str) -> str | None:
    """The key of the object with the highest number below `prefix`, if it or its twin is there."""
    names = {
        path.name for root in (folder, folder / "twins") for path in root.glob(f"{prefix}{NUMBER}")
    }
    return f"{prefix}{max(names)}" if names else None


# -- keys -----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)  # the packs that a restore goes to and fro among
def derive(key: bytes, info: str, *, salt: bytes = b"", size: int = 32) -> bytes:
    """HKDF."""
    return HKDF(SHA256(), size, salt or None, info.encode()).derive(key)


def unseal(key: bytes, sealed: bytes, name: bytes, what: str) -> bytes:
    """Nonce, encrypted bytes and tag, one after another; `name` is the associated data."""
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], name)
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{what} does not open: it is damaged, or the key is another one") from error


def read_key_file(path: Path) -> dict[str, tuple[str, bytes]]:
    """By its id each key of the file, with the word that says what it is."""
    keys = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, text = line.strip().partition(" ")
        if not word or word.startswith("#"):
            continue
        digits = re.sub(r"[\s-]", "", text).upper()
        try:
            data = base64.b32decode(digits + "=" * (-len(digits) % 8))
        except ValueError as error:
            raise Failed(f"{path}: {error}", 2) from error
        key, check = data[:KEY_SIZE], data[KEY_SIZE:]
        if (
            word not in ("csbs-region-key-1", "csbs-recovery-key-1")
            or len(data) != KEY_SIZE + KEY_CHECK_SIZE
        ):
            raise Failed(f"{path}: this is no key: {word}", 2)
        if blake3 is not None and blake3(word.encode() + key).digest()[:KEY_CHECK_SIZE] != check:
            raise Failed(f"{path}: a key is mistyped: its check does not fit", 2)
        keys[derive(key, "csbs key id 1", size=16).hex()] = word, key
    return keys


class Keys:
    """The keys of a repository: of its config or, unwrapped, of its key ring."""

    def __init__(self, folder: Path, key_file: Path | None, warnings: list[str]) -> None:
        magic, config = read_twins(folder, "config", warnings)
        if magic != "CSBSCF01" or config.get("block_size_bytes") != BLOCK_SIZE:
            raise Damaged(f"{folder / 'config'}: no config of a repository")
        self.repository_id = config["repository_id"]
        self.seal = b""
        #: Data keys by their ids.
        self.data: dict[bytes, bytes] = {}
        if config.get("cipher") is None:
            self.mac, self.digest = (
                bytes.fromhex(config["mac_key"]),
                bytes.fromhex(config["digest_key"]),
            )
            return
        if config["cipher"] != "aes-256-gcm" or HKDF is None:
            raise Failed(f"cipher {config['cipher']}: needs the Python module cryptography", 5)
        if key_file is None:
            raise Failed(
                "the repository is encrypted: name its region or recovery key (--key-file)", 6
            )
        newest = newest_of_twins(folder, f"keys/{self.repository_id}/")
        if newest is None:
            raise Damaged(f"{folder / 'keys'}: there is no key ring")
        ring = read_twins(folder, newest, warnings)[1]
        found = self._unwrapped(ring, read_key_file(key_file))
        self.mac, self.digest, self.seal = found["mac"], found["digest"], found["seal"]

    def _unwrapped(
        self, ring: dict[str, Any], own: dict[str, tuple[str, bytes]]
    ) -> dict[str, bytes]:
        """Keys by their use; data keys by their ids go to `data`."""
        for which in ("region", "recovery"):
            key_id = ring[f"{which}_key"]["id"]
            if key_id in own:
                break
        else:
            raise Failed("the key file has no key that opens this repository", 6)
        found = {}
        for place, each in enumerate(ring["keys"]):
            if each[which] is None:
                continue
            parts = ["CSBSKR01", self.repository_id, ring["number"], len(ring["keys"]), place]
            parts += [each["id"], each["use"], each["since"], key_id]
            name = " ".join(map(str, parts)).encode()
            key = self._unwrap(own[key_id][1], which, bytes.fromhex(each[which]), name)
            found[each["use"]] = key
            if each["use"] == "data":
                self.data[UUID(each["id"]).bytes] = key
        return found

    def _unwrap(self, own: bytes, which: str, wrapped: bytes, name: bytes) -> bytes:
        if which == "region":
            salt = UUID(self.repository_id).bytes
            key = derive(own, "csbs region wrap 1", salt=salt)
            return unseal(key, wrapped, name, "the key ring")
        private = X25519PrivateKey.from_private_bytes(derive(own, "csbs recovery private 1"))
        shared = private.exchange(X25519PublicKey.from_public_bytes(wrapped[:32]))
        salt = wrapped[:32] + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        known = derive(own, "csbs recovery authentication 1")
        key = derive(shared + known, "csbs recovery wrap 1", salt=salt)
        return unseal(key, bytes(12) + wrapped[32:], name, "the key ring")

    def facts(self, manifest: dict[str, Any], key: str) -> Any:
        """The facts of a manifest."""
        if "sealed" not in manifest:
            return manifest.get("facts")
        seal = derive(self.seal, "csbs manifest seal 1", size=64)[:32]
        name = f"CSBSMF01 {self.repository_id} {key.rpartition('/')[2]}".encode()
        return json.loads(unseal(seal, base64.b64decode(manifest["sealed"]), name, key))

    def decrypt(self, pack: Pack, frame: Frame, stored: bytes) -> bytes:
        """A frame's bytes before encryption."""
        if pack.cipher == 0 and not self.data:
            return stored
        data_key = self.data.get(pack.data_key_id)
        if pack.cipher != 1 or data_key is None:
            raise Damaged(
                f"pack {pack.id}: cipher {pack.cipher}, with a key that is not in the ring"
            )
        name = FRAME_NAME.pack(
            b"CSBSPK01", bytes.fromhex(pack.id), frame.slot, frame.kind, frame.plain_size
        )
        key = derive(data_key, "csbs frame key 1", salt=pack.salt)
        return unseal(key, stored, name, f"pack {pack.id}: slot {frame.slot}")


# -- packs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One row of a footer, and where the frame lies."""

    slot: int
    kind: int
    codec: int
    offset: int
    size: int
    plain_size: int
    digest: bytes


class Pack:
    """One open pack."""

    def __init__(self, file: BinaryIO, pack_id: str) -> None:
        self.file = file
        self.id = pack_id
        header = self._read(0, HEADER.size)
        magic, own_id, _, _, self.cipher, self.data_key_id, self.salt = HEADER.unpack(header)
        if magic != b"CSBSPK01" or own_id.hex() != pack_id:
            raise self._damaged("its header does not fit")
        self._read_footer()

    def frame(self, slot: int) -> Frame:
        """Where the slot is, and what."""
        row = bisect_left(self._slots, slot)
        if row == len(self._slots) or self._slots[row] != slot:
            raise self._damaged(f"it has no slot {slot}")
        return Frame(
            slot,
            self._kinds[row],
            self._codecs[row],
            self._offsets[row],
            self._sizes[row],
            self._plain_sizes[row],
            self._digests[32 * row : 32 * row + 32],
        )

    def plain(self, frame: Frame, keys: Keys) -> bytes:
        """The frame's bytes, decoded; their digest is for the caller to check."""
        coded = keys.decrypt(self, frame, self._read(frame.offset, frame.size))
        if frame.codec == RAW:
            plain = coded
        elif frame.codec == ZSTD:
            plain = self._unpacked(coded, frame.plain_size)
        else:
            raise Failed(f"pack {self.id}: codec {frame.codec} is not known", 5)
        if len(plain) != frame.plain_size:
            raise self._damaged(f"slot {frame.slot} has another size")
        return plain

    def _read_footer(self) -> None:
        size = self.file.seek(0, os.SEEK_END)
        raw = self._read(size - TRAILER.size, TRAILER.size)
        magic, own_id, _, count, offset, stored, plain, check, _ = TRAILER.unpack(raw)
        fits = magic == b"CSBSPT01" and own_id.hex() == self.id
        if not fits or plain != 4 + FOOTER_ROW_SIZE * count + (48 if self.cipher else 0):
            raise self._damaged("its trailer does not fit")
        packed = self._read(offset, stored)
        if blake3 is not None and blake3(packed).digest() != check:
            raise self._damaged("its footer does not fit its check")
        footer = self._unpacked(packed, plain)
        if len(footer) != plain or struct.unpack_from("<I", footer) != (0,):
            raise self._damaged("its footer is not understood")
        columns = struct.unpack_from(f"<{count}H{count}B{count}B{count}I{count}I", footer, 4)
        self._slots, self._kinds, self._codecs, self._sizes, self._plain_sizes = (
            columns[i * count : (i + 1) * count] for i in range(5)
        )
        self._digests = footer[4 + 12 * count :]
        self._offsets = list(accumulate(self._sizes, initial=HEADER.size))

    def _read(self, offset: int, size: int) -> bytes:
        if offset < 0:
            raise self._damaged("it is too short")
        try:
            self.file.seek(offset)
            data = self.file.read(size)
        except OSError as error:
            raise self._damaged(str(error)) from error
        if len(data) != size:
            raise self._damaged("it is too short")
        return data

    def _unpacked(self, data: bytes, size: int) -> bytes:
        try:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> Damaged:
        return Damaged(f"pack {self.id}: {why}")


# -- the store ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backup:
    """A manifest, and whether it counts."""

    key: str
    manifest: dict[str, Any]
    #: Empty, `deleted`, or `not counted`: a former owner wrote it after another took over.
    mark: str

    @property
    def id(self) -> str:
        """UUID of the backup."""
        return str(self.manifest["backup_id"])

    @property
    def facts(self) -> dict[str, Any]:
        """What csbs knew of the server; may lack anything."""
        facts = self.manifest.get("facts")
        return facts if isinstance(facts, dict) else {}

    @property
    def name(self) -> str:
        """Its name, or nothing."""
        return str(self.facts.get("name", ""))

    def targets(self) -> dict[str, str]:
        """By id of a disk the name that it had in the server, such as `vda`."""
        disks = self.facts.get("disks", [])
        return {str(disk.get("id")): str(disk.get("target", "")) for disk in disks}


class Store:
    """A bare copy of a repository in a folder."""

    def __init__(self, folder: Path, key_file: Path | None = None) -> None:
        self.folder = _repository_folder(folder)
        #: What could not be read, for people.
        self.warnings: list[str] = []
        self._keys = Keys(self.folder, key_file, self.warnings)
        self._packs: OrderedDict[str, Pack] = OrderedDict()

    def backups(self) -> list[Backup]:
        """All that can be read, oldest first; `warnings` says what cannot."""
        counts = self._counting()
        deleted = self._deleted()
        found = []
        for path in sorted(self.folder.glob("manifests/*/*")):
            key = path.relative_to(self.folder).as_posix()
            if not MANIFEST_NAME.fullmatch(path.name):
                continue
            try:
                magic, manifest = read_text_object(path, self._keys.mac)
                if magic == "CSBSMF01":
                    manifest["facts"] = self._keys.facts(manifest, key)
            except Failed as error:
                self.warnings.append(str(error))
                continue
            if magic == "CSBSMF01":
                mark = "deleted" if key in deleted else "" if counts(key) else "not counted"
                found.append(Backup(key, manifest, mark))
        return sorted(found, key=lambda each: (each.manifest["created_at"], each.id))

    def plain(self, address: tuple[str, int], kind: int) -> bytes:
        """The bytes at an address, checked where that can be done."""
        pack_id, slot = address
        pack = self._pack(pack_id)
        frame = pack.frame(slot)
        plain = pack.plain(frame, self._keys)
        if frame.kind != kind:
            raise Damaged(f"pack {pack_id}: slot {slot} is of another kind")
        if blake3 is not None and blake3(plain, key=self._keys.digest).digest() != frame.digest:
            raise Damaged(f"pack {pack_id}: slot {slot} does not fit its digest")
        return plain

    def close(self) -> None:
        """Closes all packs."""
        for pack in self._packs.values():
            pack.file.close()
        self._packs.clear()

    def _pack(self, pack_id: str) -> Pack:
        pack = self._packs.get(pack_id)
        if pack is None:
            if len(self._packs) == PACKS_OPEN_MAX:
                self._packs.popitem(last=False)[1].file.close()
            path = self.folder / "packs" / pack_id[:2] / pack_id
            with ExitStack() as undo:
                try:
                    file = undo.enter_context(path.open("rb"))
                except OSError as error:
                    raise Damaged(f"pack {pack_id}: {error.strerror}") from error
                pack = self._packs[pack_id] = Pack(file, pack_id)
                undo.pop_all()
        self._packs.move_to_end(pack_id)
        return pack

    def _counting(self) -> Callable[[str], bool]:
        """Which manifest keys count: those of the newest owner, and those that it lists."""
        newest = newest_of_twins(self.folder, "owners/")
        if newest is None:
            self.warnings.append("owners/: there is none; all manifests are taken to count")
            return lambda _: True
        try:
            listed = frozenset(
                read_twins(self.folder, newest, self.warnings)[1].get("manifests", ())
            )
        except Damaged as error:
            self.warnings.append(f"{error}; all manifests are taken to count")
            return lambda _: True
        number = newest.rpartition("/")[2]
        return lambda key: key in listed or f"/{number}-" in key

    def _deleted(self) -> set[str]:
        """Keys of manifests with a tombstone that was not taken back."""
        found = set()
        for path in self.folder.glob("manifests/*/*.tombstone-*"):
            tombstone = TOMBSTONE_NAME.fullmatch(path.relative_to(self.folder).as_posix())
            if tombstone and self._end_of(path) != "undeleted":
                found.add(tombstone["manifest"])
        return found

    def _end_of(self, tombstone: Path) -> str:
        end = tombstone.with_name(tombstone.name + ".end")
        if not end.exists():
            return ""
        try:
            return str(read_text_object(end)[1].get("end", ""))
        except Damaged as error:
            self.warnings.append(str(error))
            return ""


def _repository_folder(folder: Path) -> Path:
    if any((folder / key).is_file() for key in ("config", "twins/config")):
        return folder
    found = {path.parent for path in folder.glob("*/config")}
    inside = sorted(found | {path.parent.parent for path in folder.glob("*/twins/config")})
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise Failed("several repositories: name one of " + ", ".join(map(str, inside)), 2)
    raise Failed(f"{folder}: no repository (there is no file `config`)", 3)


# -- maps -----------------------------------------------------------------------------------------


#: Level, states, and by entry the addresses of what is stored.
Node = tuple[int, bytes, dict[int, tuple[str, int]]]


def decode_node(plain: bytes) -> Node:
    """Raises `Damaged`."""
    try:
        magic, version, level, pack_count = NODE_HEADER.unpack_from(plain)
        at = NODE_HEADER.size
        ids = [plain[at + 16 * i : at + 16 * i + 16].hex() for i in range(pack_count)]
        at += 16 * pack_count
        states = plain[at : at + ENTRIES]
        stored = [i for i, state in enumerate(states) if state == STORED]
        at += ENTRIES
        ordinals = _split_planes(plain[at:], len(stored))
        slots = _split_planes(plain[at + 2 * len(stored) :], len(stored))
        addresses = {stored[i]: (ids[ordinals[i]], slots[i]) for i in range(len(stored))}
    except (struct.error, IndexError) as error:
        raise Damaged(f"a map node is not understood: {error}") from error
    if magic != b"CSMN" or version != 1 or len(states) != ENTRIES:
        raise Damaged("a map node is not understood")
    return level, states, addresses


def _split_planes(data: bytes, count: int) -> list[int]:
    """Numbers of two bytes: all low bytes come first, then all high ones."""
    if len(data) < 2 * count:
        raise IndexError("too short")
    return [data[i] | data[count + i] << 8 for i in range(count)]


@dataclass(frozen=True)
class Piece:
    """Blocks of a disk from `block` on: one with an address, or many that are lost."""

    block: int
    count: int
    address: tuple[str, int] | None
    why_lost: str = ""


def walk(store: Store, image: dict[str, Any]) -> Iterator[Piece]:
    """All blocks of the disk that are stored, and those that are lost, in order."""
    root = image["root"]
    if root is None:
        return
    blocks = -(-image["size_bytes"] // BLOCK_SIZE)
    yield from _walk_node(store, (root["pack"], root["slot"]), image["level"], 0, blocks)


def _walk_node(
    store: Store, address: tuple[str, int], level: int, first: int, blocks: int
) -> Iterator[Piece]:
    """What lies below one node; `first` is the first of its blocks, of `blocks` of the disk."""
    step = ENTRIES**level
    try:
        states, addresses = _load_node(store, address, level)
    except Damaged as error:
        yield Piece(first, min(step * ENTRIES, blocks - first), None, str(error))
        return
    for entry, state in enumerate(states):
        block = first + entry * step
        if block >= blocks:
            return
        if state == STORED and level:
            yield from _walk_node(store, addresses[entry], level - 1, block, blocks)
        elif state == STORED:
            yield Piece(block, 1, addresses[entry])
        elif state not in (HOLE, ZERO):
            why = "was lost before this backup" if state == DAMAGED else f"state {state}"
            yield Piece(block, min(step, blocks - block), None, why)


def _load_node(
    store: Store, address: tuple[str, int], level: int
) -> tuple[bytes, dict[int, tuple[str, int]]]:
    found, states, addresses = decode_node(store.plain(address, NODE))
    if found != level:
        raise Damaged(f"pack {address[0]}: slot {address[1]} is a node of level {found}")
    return states, addresses


# -- restoring ------------------------------------------------------------------------------------


def restore(store: Store, image: dict[str, Any], output: Path, *, keep_going: bool) -> list[str]:
    """Writes the disk to a new, sparse raw file, and returns what was lost.

    The file has its name only once it is whole and durable.  Raises `Damaged` at the first block
    that cannot be read, unless told to go on: then such blocks are zeroes.
    """
    lost: list[str] = []
    size = image["size_bytes"]
    with _new_file(output) as file:
        file.truncate(size)
        for piece in walk(store, image):
            start = piece.block * BLOCK_SIZE
            end = min(start + piece.count * BLOCK_SIZE, size)
            why = piece.why_lost
            if piece.address is not None:
                try:
                    data = store.plain(piece.address, BLOCK)
                except Damaged as error:
                    why = str(error)
                else:
                    file.seek(start)
                    file.write(data[: end - start])
            if why and not keep_going:
                raise Damaged(f"bytes {start} to {end - 1}: {why} (--keep-going restores the rest)")
            if why:
                lost.append(f"bytes {start} to {end - 1}: {why}")
    return lost


@contextmanager
def _new_file(output: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the body has ended well; else nothing is left."""
    partial = output.with_name(output.name + ".partial")
    for path in (output, partial):
        if path.exists():
            raise Failed(f"{path} exists", 5)
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(output)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


# -- the command ----------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    options = _parser().parse_args(arguments)
    if blake3 is None:
        print("note: without the Python module blake3 nothing is checked", file=sys.stderr)
    try:
        store = Store(options.store, options.key_file)
        try:
            code = int(options.command(store, options))
        finally:
            store.close()
            for warning in store.warnings:
                print(f"warning: {warning}", file=sys.stderr)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 7
    return code or (8 if store.warnings else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the store")
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="region or recovery key of an encrypted one"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="lists backups")
    listing.add_argument("--all", action="store_true", help="deleted and not counted ones too")
    listing.set_defaults(command=_list)
    showing = commands.add_parser("show", help="prints all that is known of a backup, as JSON")
    showing.add_argument("backup", metavar="BACKUP", help="id, the first 8 digits of it, or name")
    showing.add_argument("--xml", action="store_true", help="the server's libvirt XML alone")
    showing.set_defaults(command=_show)
    restoring = commands.add_parser("restore", help="writes one disk to a new raw file")
    restoring.add_argument("backup", metavar="BACKUP", help="id, the first 8 digits of it, or name")
    restoring.add_argument("disk", metavar="DISK", help="its target, such as vda, or its id")
    restoring.add_argument("output", type=Path, metavar="FILE", help="must not exist")
    restoring.add_argument(
        "--keep-going", action="store_true", help="zeroes where blocks are lost; they are listed"
    )
    restoring.set_defaults(command=_restore)
    return parser


def _list(store: Store, options: argparse.Namespace) -> int:
    for backup in store.backups():
        if backup.mark and not options.all:
            continue
        manifest, targets = backup.manifest, backup.targets()
        disks = ", ".join(
            f"{targets.get(image['id']) or image['id']} {image['size_bytes']} bytes"
            for image in manifest["images"]
        )
        server = backup.facts.get("server", {}).get("name", "?")
        print(
            f"{backup.id}  {manifest['created_at']}  {backup.name or '-'}  server {server}: "
            f"{disks or 'no disks'}{f'  ({backup.mark})' if backup.mark else ''}"
        )
    return 0


def _show(store: Store, options: argparse.Namespace) -> int:
    backup = _find(store, options.backup)
    if options.xml:
        print(backup.facts.get("server", {}).get("definition_xml", ""))
    else:
        print(json.dumps(backup.manifest, indent=2, ensure_ascii=False))
    return 0


def _restore(store: Store, options: argparse.Namespace) -> int:
    backup = _find(store, options.backup)
    targets = backup.targets()
    images = [
        image
        for image in backup.manifest["images"]
        if options.disk in (image["id"], targets.get(image["id"]))
    ]
    if len(images) != 1:
        there = ", ".join(
            targets.get(each["id"]) or each["id"] for each in backup.manifest["images"]
        )
        raise Failed(f"backup {backup.id} has no disk {options.disk}; it has {there}", 3)
    lost = restore(store, images[0], options.output, keep_going=options.keep_going)
    for each in lost:
        print(f"lost: {each}", file=sys.stderr)
    print(f"{options.output}: {images[0]['size_bytes']} bytes")
    return 8 if lost else 0


def _find(store: Store, wanted: str) -> Backup:
    """Those that count win over those that do not."""
    found = [
        each
        for each in store.backups()
        if each.name == wanted or (len(wanted) >= 8 and each.id.startswith(wanted.lower()))  # noqa: PLR2004  as csbs
    ]
    counting = [each for each in found if not each.mark] or found
    if len(counting) != 1:
        raise Failed(f"{len(counting)} backups are named {wanted}", 3)
    return counting[0]


if __name__ == "__main__":
    sys.exit(main())
