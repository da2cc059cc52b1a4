"""A repository to try things on: small packs, known ids and times."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import (
    BackupWriter,
    ContentIndex,
    Encryption,
    Image,
    KeyFiles,
    Manifest,
    Repository,
)
from csbs.repository.frame_cipher import SEAL_SIZE
from csbs.repository.objectstore import ObjectStore

START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
CATALOG_ID = "11111111-2222-4333-8444-555555555555"

#: A few blocks that do not compress fill a pack.
PACK_SIZE = 4 * BLOCK_SIZE


class Lab:
    """A repository in `store`, its content index and keys in `folder`."""

    def __init__(
        self, store: ObjectStore, folder: Path, *, seed: int = 1, encrypted: bool = False
    ) -> None:
        """Labs of different seeds make different ids, keys and nonces."""
        self._random = random.Random(seed)
        self.store = store
        self.key_files = KeyFiles(
            folder / "region.key", folder=folder, random_bytes=self._random.randbytes
        )
        self.encryption = Encryption(
            wanted=encrypted, files=self.key_files, random_bytes=self._random.randbytes
        )
        self.index_path = folder / "index.sqlite"
        self.index = ContentIndex(self.index_path)
        self.repository = self.opened()

    def opened(self, store: ObjectStore | None = None) -> Repository:
        """The repository, opened anew."""
        return Repository.open(
            store or self.store,
            name="the lab's",
            catalog_id=CATALOG_ID,
            clock=lambda: START,
            new_id=self.new_id,
            encryption=self.encryption,
        )

    @property
    def raw_frame_size(self) -> int:
        """What a block that does not compress takes in a pack, in bytes."""
        return BLOCK_SIZE + (SEAL_SIZE if self.encryption.wanted else 0)

    def new_id(self) -> str:
        """A UUID, the same in each run."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def close(self) -> None:
        """Closes the index."""
        self.index.close()

    def begin(self, repository: Repository | None = None) -> BackupWriter:
        """Begins a backup, with small packs."""
        return (repository or self.repository).begin(
            self.new_id(), started_at=START, index=self.index, pack_size=PACK_SIZE
        )

    def back_up(
        self, data: bytes, parent: Image | None = None, *, image_id: str = "disk"
    ) -> Manifest:
        """A backup of one disk; every block is read and compared with the parent's."""
        return self.back_up_blocks(
            len(data),
            {
                number: data[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
                for number in range(-(-len(data) // BLOCK_SIZE))
            },
            parent,
            image_id=image_id,
        )

    def back_up_blocks(
        self,
        size_bytes: int,
        blocks: Mapping[int, bytes],
        parent: Image | None = None,
        *,
        image_id: str = "disk",
    ) -> Manifest:
        """A backup of one disk of which only these blocks are mentioned."""
        writer = self.begin()
        write_image(writer, size_bytes, blocks, parent, image_id=image_id)
        return writer.commit(created_at=START, facts={"name": image_id})

    def restored(self, manifest: Manifest, image_id: str = "disk") -> bytes:
        """All bytes of the disk, by way of fetches; behaves as a restore does."""
        image = manifest.image(image_id)
        assert image is not None
        return restored(self.repository, image)


def write_image(
    writer: BackupWriter,
    size_bytes: int,
    blocks: Mapping[int, bytes],
    parent: Image | None = None,
    *,
    image_id: str = "disk",
) -> Image:
    """One finished image of which only these blocks are mentioned."""
    image = writer.image(image_id, size_bytes, parent=parent)
    encoder = image.encoder()
    for number, data in sorted(blocks.items()):
        image.write(number, encoder.encode(number, data))
    return image.finish()


def restored(repository: Repository, image: Image) -> bytes:
    """All bytes of an image that fits in memory."""
    reader = repository.reader(image)
    data = bytearray(-(-image.size_bytes // BLOCK_SIZE) * BLOCK_SIZE)
    for fetch in reader.fetches():
        for block, plain in reader.load(fetch):
            data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = plain
    return bytes(data[: image.size_bytes])


def noise(seed: int, size_bytes: int = BLOCK_SIZE) -> bytes:
    """Bytes that do not compress, the same in each run."""
    return random.Random(seed).randbytes(size_bytes)
