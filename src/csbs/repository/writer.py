"""Writes one backup: images by way of encoders, then the commit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import zstandard

from csbs.domain.clock import Monotonic, NewId, monotonic
from csbs.domain.errors import Denied, Unavailable
from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository.content_index import ContentIndex
from csbs.repository.difference import difference
from csbs.repository.encoder import BlockEncoder, EncodedBlock, Outcome
from csbs.repository.errors import (
    BackupFenced,
    CorruptObject,
    MissingPack,
    ObjectExists,
    RepositoryOwned,
)
from csbs.repository.manifest import Image, Manifest, ManifestKeys, encode_manifest
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.map_reader import MapReader, ParentBlocks
from csbs.repository.map_writer import KEEP, MapWriter
from csbs.repository.node import STORED, ZERO, Address, Flags, Node, PackTable, encode_node
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack import Codec, Content, Frame, Kind, PackBuilder, pack_key
from csbs.repository.pack_reader import PackReader
from csbs.repository.pack_writer import PACK_SIZE, PackWriter
from csbs.repository.reader import ImageReader

log = logging.getLogger(__name__)

#: Nodes are few and read often: a little more effort than for blocks.
_NODE_COMPRESSION_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterParts:
    """What a writer works with."""

    store: ObjectStore
    packs: PackReader
    manifests: ManifestStore
    keys: ManifestKeys
    index: ContentIndex
    new_id: NewId
    require_owner: Callable[[], None]
    pack_size: int = PACK_SIZE
    monotonic: Monotonic = monotonic


class BackupWriter:
    """One backup; its images may be written by several threads, each image by one.

    Ends with `commit` or `abort`.  Nothing of it can be seen before the commit.
    """

    def __init__(self, parts: WriterParts, *, key: str, backup_id: str, owner: int) -> None:
        """`key` is where the manifest will be."""
        self._parts = parts
        self._key = key
        self._backup_id = backup_id
        self._owner = owner
        self._writer = PackWriter(
            parts.store,
            parts.index,
            self._new_pack,
            pack_size=parts.pack_size,
            monotonic=parts.monotonic,
        )
        self._older = _NamedPacks()
        self._images: dict[str, Image | None] = {}
        #: Of images that were begun again: from where their changes count.
        self._counted_from: dict[str, Image | None] = {}
        self._lock = threading.Lock()
        self._ended = False
        #: A put of the manifest may be under way, even after it failed.
        self._committing = False

    @property
    def manifest_key(self) -> str:
        """The key that the commit will take."""
        return self._key

    @property
    def stored_bytes(self) -> int:
        """Size of all packs put so far."""
        return self._writer.stored_bytes

    def image(self, image_id: str, size_bytes: int, *, parent: Image | None) -> ImageWriter:
        """Begins the image of a disk; it takes from `parent` what is not written.

        One that was begun and not finished may be begun anew.

        Raises `MissingPack` or `CorruptObject` if the parent's map cannot be read.
        """
        with self._lock:
            assert self._images.get(image_id) is None, image_id
            self._images[image_id] = None
            self._counted_from.pop(image_id, None)
        return self._image_writer(_ImagePlan(image_id, size_bytes, parent))

    def image_again(self, image: Image, *, parent: Image | None) -> ImageWriter:
        """Begins a finished image again: what is not written stays as it was finished.

        What changed still counts from `parent`.  Raises what putting a pack raised.
        """
        self._writer.flush()  # its map is read from the store
        with self._lock:
            assert self._images[image.id] == image, image.id
            self._images[image.id] = None
            self._counted_from[image.id] = parent
        return self._image_writer(_ImagePlan(image.id, image.size_bytes, image))

    def commit(self, *, created_at: datetime, facts: Mapping[str, Any]) -> Manifest:
        """Makes the backup exist.  May be repeated with the same values.

        Raises `MissingPack` if a pack that its new map nodes name is not there, `BackupFenced` if
        the backup was given up meanwhile, `RepositoryOwned`, and what the store raises.
        """
        assert not self._ended, "the backup was given up"
        self._writer.flush()
        self._writer.verify(self._parts.packs)
        self._older.verify(self._parts.packs)
        with self._lock:
            images = tuple(image for image in self._images.values() if image is not None)
            assert len(images) == len(self._images), "each image must be finished"
        images = tuple(self._counted(image) for image in images)
        manifest = Manifest(
            key=self._key,
            backup_id=self._backup_id,
            owner=self._owner,
            created_at=created_at,
            stored_bytes=self.stored_bytes,
            images=images,
            facts=facts,
        )
        self._parts.require_owner()
        self._committing = True
        self._put(encode_manifest(manifest, self._parts.keys))
        self._parts.require_owner()  # whoever took over before does not know of it
        self._writer.close()
        return manifest

    def abort(self) -> bool:
        """Gives the backup up; nothing is put afterwards.

        True: it can never be committed.  False: it was committed before.  May be repeated.  A
        store that does not answer, or takes nothing from us, is not needed unless the commit had
        begun; one that another catalog has taken over is left alone: what becomes of the backup
        is that one's affair.
        """
        self._ended = True
        self._writer.stop()
        try:
            self._parts.require_owner()
            return self._parts.manifests.fence(self._key, self._backup_id)
        except RepositoryOwned:
            return True
        except (Denied, Unavailable) as error:
            if self._committing:
                raise
            log.warning("no void was put", extra={"key": self._key, "why": str(error)})
            return True

    def _put(self, data: bytes) -> None:
        try:
            self._parts.store.put(self._key, [data])
        except ObjectExists:
            if self._parts.manifests.is_void(self._key):
                raise BackupFenced(self._backup_id) from None
            raise

    def _new_pack(self, content: Content) -> PackBuilder:
        pack_id = UUID(self._parts.new_id()).bytes
        return PackBuilder(pack_id, content, self._parts.packs.new_cipher(pack_id))

    def _image_writer(self, plan: _ImagePlan) -> ImageWriter:
        return ImageWriter(plan, self._parts, self._writer, self._older, self._finished)

    def _finished(self, image: Image) -> None:
        with self._lock:
            self._images[image.id] = image

    def _counted(self, image: Image) -> Image:
        if image.id not in self._counted_from:
            return image
        parent = self._counted_from[image.id]
        return replace(image, changed_blocks=difference(self._parts.packs, parent, image))


@dataclass(frozen=True, slots=True)
class _ImagePlan:
    id: str
    size_bytes: int
    parent: Image | None


class ImageWriter:
    """Writes the image of one disk, blocks in ascending order, from one thread.

    Each block is mentioned at most once, by `write` or `fill`; the others are the parent's, or
    holes without a parent.  Behind the end of a smaller parent all is hole.
    """

    def __init__(
        self,
        plan: _ImagePlan,
        parts: WriterParts,
        writer: PackWriter,
        older: _NamedPacks,
        finished: Callable[[Image], None],
    ) -> None:
        self._plan = plan
        self._parts = parts
        self._writer = writer
        self._older = older
        self._finished = finished
        self._table = PackTable()
        self._compressor = zstandard.ZstdCompressor(level=_NODE_COMPRESSION_LEVEL)
        self._root_digest = b""
        self._map = MapWriter(
            plan.size_bytes, plan.parent, MapReader(parts.packs, self._table), self._emit
        )
        self._parent = None if plan.parent is None else ParentBlocks(parts.packs, plan.parent)
        self._encoder = BlockEncoder(
            parts.packs, parts.index, self._parent, level=lambda: writer.level
        )

    def encoder(self) -> BlockEncoder:
        """The encoder for this image's blocks; may be used by several threads."""
        return self._encoder

    def allocation_differs(self, leaf: int, allocated: Flags) -> Flags | None:
        """Which of the 512 blocks of a leaf are not allocated as in the parent; None: all are.

        Without a parent nothing is allocated there.  Raises `MissingPack`, `CorruptObject`.
        """
        if self._parent is None:
            return allocated if bool(allocated.any()) else None
        return self._parent.allocation_differs(leaf, allocated)

    def write(self, first_block: int, blocks: Sequence[EncodedBlock]) -> None:
        """Places encoded blocks.  Raises what putting a pack raised."""
        states, packs, slots = [], [], []
        for block in blocks:
            address = block.address
            if block.frame is not None:
                address = self._writer.add_block(block.frame)
            if address is not None:
                states.append(STORED)
                packs.append(self._table.number(address.pack_id))
                slots.append(address.slot)
            else:
                states.append(ZERO if block.outcome is Outcome.ZERO else KEEP)
                packs.append(0)
                slots.append(0)
        self._map.place(
            first_block,
            np.array(states, np.uint8),
            np.array(packs, np.int32),
            np.array(slots, np.uint16),
        )

    def fill(self, first_block: int, end_block: int, state: int) -> None:
        """Makes a range of blocks `HOLE` or `ZERO`, without regard to its size."""
        self._map.fill(first_block, end_block, state)

    def finish(self) -> Image:
        """Closes the image; it is part of the backup from now on."""
        self._cut_last_block()
        written = self._map.finish()
        image = Image(
            id=self._plan.id,
            size_bytes=self._plan.size_bytes,
            level=written.level,
            root=written.root,
            root_digest=self._digest_of_root(written.root),
            nonzero_blocks=written.nonzero_blocks,
            changed_blocks=written.changed_blocks,
        )
        self._finished(image)
        return image

    def _cut_last_block(self) -> None:
        """Zeroes what the parent has behind the end of a disk that was cut within a block.

        Without this old bytes would show up again after the disk grew.
        """
        parent, size_bytes = self._plan.parent, self._plan.size_bytes
        tail_size = size_bytes % BLOCK_SIZE
        last = block_count(size_bytes) - 1
        if parent is None or size_bytes >= parent.size_bytes or not tail_size:
            return
        if self._map.position > last:
            return
        reader = ImageReader(self._parts.packs, parent)
        if reader.state(last) == STORED:
            data = reader.read(last * BLOCK_SIZE, tail_size)
            self.write(last, self._encoder.encode(last, data))

    def _emit(self, node: Node) -> Address:
        plain = encode_node(node, self._table)
        digest = self._parts.packs.digest(plain)
        self._root_digest = digest  # the root comes last
        self._note_older(node)
        data = self._compressor.compress(plain)
        return self._writer.add_node(Frame(Kind.NODE, Codec.ZSTD, data, len(plain), digest))

    def _note_older(self, node: Node) -> None:
        stored = node.states == STORED
        packs, slots = node.packs[stored], node.slots[stored]
        for number in np.unique(packs):
            pack_id = self._table.pack_id(int(number))
            if not self._writer.is_own(pack_id):
                self._older.add(pack_id, int(slots[packs == number].max()))

    def _digest_of_root(self, root: Address | None) -> bytes:
        if root is None:
            return b""
        if self._writer.is_own(root.pack_id):
            return self._root_digest
        digest = self._parts.packs.find(root, Kind.NODE)
        if digest is None:
            raise CorruptObject(pack_key(root.pack_id), f"a node in slot {root.slot}", "none")
        return digest


class _NamedPacks:
    """Packs of former backups that new map nodes name, each with its highest slot."""

    def __init__(self) -> None:
        self._slots: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def add(self, pack_id: bytes, slot: int) -> None:
        with self._lock:
            self._slots[pack_id] = max(slot, self._slots.get(pack_id, 0))

    def verify(self, packs: PackReader) -> None:
        """Raises `MissingPack` for one that is gone, damaged or too short."""
        with self._lock:
            named = dict(self._slots)
        for pack_id, slot in named.items():
            try:
                trailer, _ = packs.trailer(pack_id)
            except CorruptObject as error:
                raise MissingPack(pack_id.hex()) from error
            if slot >= trailer.slot_count:
                raise MissingPack(pack_id.hex())
