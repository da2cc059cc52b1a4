"""The storage engine: backups of disks in an object store, each independent, stored once.

A library on its own:

    repository = Repository.open(store, name="mine", catalog_id=..., clock=utc_now, new_id=new_id)
    writer = repository.begin(backup_id, started_at=utc_now(), index=ContentIndex(path))
    image = writer.image("vda", size_bytes, parent=None)
    image.write(0, image.encoder().encode(0, data))
    image.finish()
    manifest = writer.commit(created_at=utc_now(), facts={})
    repository.reader(manifest.images[0]).read(0, size_bytes)
"""

from csbs.repository.collect import CollectProgress, CollectReport
from csbs.repository.content_index import ContentIndex
from csbs.repository.description import RepositoryDescription, describe
from csbs.repository.encoder import BlockEncoder, EncodedBlock
from csbs.repository.lock import FileLock, repository_lock
from csbs.repository.manifest import Image, Manifest
from csbs.repository.node import DAMAGED, FANOUT, HOLE, STORED, ZERO, Address, Flags
from csbs.repository.reader import FETCH_SIZE_MAX, WINDOW_BLOCKS, Fetch, ImageReader, Run
from csbs.repository.repository import Repository
from csbs.repository.writer import BackupWriter, ImageWriter

__all__ = [
    "DAMAGED",
    "FANOUT",
    "FETCH_SIZE_MAX",
    "HOLE",
    "STORED",
    "WINDOW_BLOCKS",
    "ZERO",
    "Address",
    "BackupWriter",
    "BlockEncoder",
    "CollectProgress",
    "CollectReport",
    "ContentIndex",
    "EncodedBlock",
    "Fetch",
    "FileLock",
    "Flags",
    "Image",
    "ImageReader",
    "ImageWriter",
    "Manifest",
    "Repository",
    "RepositoryDescription",
    "Run",
    "describe",
    "repository_lock",
]
