"""A repository with a disk of 1 TiB, full, after a thousand increments; its data is not stored.

Maps are the real ones, written by the map layer.  The packs of blocks that they name do not exist:
the store answers for each with one and the same pack, whose blocks are nobody's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from csbs.domain.clock import new_id, utc_now
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Address, ContentIndex, EncodedBlock, Image, Repository
from csbs.repository.encoder import Outcome
from csbs.repository.errors import ObjectNotFound
from csbs.repository.map_reader import MapReader, entry_of
from csbs.repository.node import FANOUT, PackTable
from csbs.repository.objectstore import Bytes, FolderStore, ObjectInfo
from csbs.repository.pack import Codec, Content, Frame, Kind, PackBuilder
from csbs.repository.pack_reader import PackReader

DISK_BLOCKS = 1024**4 // BLOCK_SIZE
#: Blocks in a pack of 32 MiB, at 2.7 : 1.
PACK_BLOCKS = 1380
CHANGED_BLOCKS = 1024
IMAGE = "disk"
_CATALOG = "benchmark"
#: Where the header of a pack says what it holds, and its trailer which pack it is.
_CONTENT_AT = 28
_ID_IN_TRAILER = slice(8, 24)


def _nobodys_pack() -> list[Bytes]:
    chance = random.Random(0)
    pack = PackBuilder(bytes(16), Content.BLOCKS)
    for _ in range(PACK_BLOCKS):
        pack.add(Frame(Kind.BLOCK, Codec.RAW, b"-", BLOCK_SIZE, chance.randbytes(32)))
    return pack.finish()


@dataclass(slots=True)
class AgedStore:
    """A folder store that has every pack of blocks; see the module."""

    inner: FolderStore
    #: Of all objects that were put, and of packs of nodes among them.
    put_bytes: int = 0
    node_bytes: int = 0
    _parts: list[Bytes] = field(default_factory=_nobodys_pack)

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        size_bytes = sum(len(part) for part in parts)
        self.put_bytes += size_bytes
        if key.startswith("packs/") and parts[0][_CONTENT_AT] == Content.NODES:
            self.node_bytes += size_bytes
        self.inner.put(key, parts, use_reserve=use_reserve)

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        self.inner.replace(key, data)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        try:
            return self.inner.get(key, offset=offset, size=size)
        except ObjectNotFound:
            if not key.startswith("packs/"):
                raise
            pack = self._nobodys(bytes.fromhex(key[-32:]))
            return pack[offset:] if size is None else pack[offset : offset + size]

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        try:
            return self.inner.size(key)
        except ObjectNotFound:
            if not key.startswith("packs/"):
                raise
            return sum(len(part) for part in self._parts)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self.inner.delete(key)

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`."""
        self.inner.clear_leftovers()

    def _nobodys(self, pack_id: bytes) -> bytes:
        *before, trailer, check = self._parts
        named = bytearray(trailer)
        named[_ID_IN_TRAILER] = pack_id
        return b"".join((*before, named, check))


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """The aged repository."""

    store: AgedStore
    repository: Repository
    #: The disk as the last increment left it.
    image: Image
    folder: Path


def aged_repository(folder: Path, *, age: int, disk_blocks: int = DISK_BLOCKS) -> Aged:
    """The repository in `folder`; made if it is not there (minutes), reused if it is.

    `disk_blocks` is a multiple of 512.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inner = FolderStore(folder / "store")
    inner.make()
    store = AgedStore(inner)
    repository = Repository.open(
        store, name="aged", catalog_id=_CATALOG, clock=utc_now, new_id=new_id
    )
    done = {manifest.facts["age"]: manifest for manifest in repository.manifests()}
    image = done[max(done)].images[0] if done else None
    index = ContentIndex(folder / "index.sqlite")
    chance = random.Random(len(done))
    for number in range(max(done, default=-1) + 1, age + 1):
        blocks = _full(chance, disk_blocks) if image is None else _increment(chance, disk_blocks)
        writer = repository.begin(new_id(), started_at=utc_now(), index=index)
        written = writer.image(IMAGE, disk_blocks * BLOCK_SIZE, parent=image)
        for first, piece in blocks:
            written.write(first, piece)
        image = written.finish()
        writer.commit(created_at=utc_now(), facts={"age": number})
        if number % 100 == 0:
            print(f"  aged by {number} increments", flush=True)
    index.close()
    assert image is not None
    return Aged(store=store, repository=repository, image=image, folder=folder)


def _full(chance: random.Random, disk_blocks: int) -> Iterator[tuple[int, list[EncodedBlock]]]:
    """Every block, with the address that a full backup gives it."""
    pack_id = b""
    for first in range(0, disk_blocks, FANOUT):
        blocks = []
        for block in range(first, first + FANOUT):
            slot = block % PACK_BLOCKS
            if slot == 0:
                pack_id = chance.randbytes(16)
            blocks.append(_known(pack_id, slot))
        yield first, blocks


def _increment(chance: random.Random, disk_blocks: int) -> Iterator[tuple[int, list[EncodedBlock]]]:
    pack_id = chance.randbytes(16)
    changed = sorted(chance.sample(range(disk_blocks), CHANGED_BLOCKS))
    for slot, block in enumerate(changed):
        yield block, [_known(pack_id, slot)]


def _known(pack_id: bytes, slot: int) -> EncodedBlock:
    return EncodedBlock(Outcome.KNOWN, Address(pack_id, slot))


def packs_per_leaf(aged: Aged, *, samples: int = 64) -> float:
    """How many packs a leaf names on average: how far its blocks are scattered."""
    table = PackTable()
    # Digests of nodes are checked with the repository's key, which only the repository has.
    maps = MapReader(_packs_of(aged.repository), table)
    chance = random.Random(0)
    found = 0
    for _ in range(samples):
        leaf = chance.randrange(DISK_BLOCKS // FANOUT)
        entry, block = maps.root(aged.image), leaf * FANOUT
        for level in range(aged.image.level, 0, -1):
            node = maps.node(level, entry)
            entry = entry_of(node, block // FANOUT**level % FANOUT)
        found += len(set(maps.node(0, entry).packs.tolist()))
    return found / samples


def _packs_of(repository: Repository) -> PackReader:
    return repository._packs  # noqa: SLF001  a benchmark looks at what no user needs
