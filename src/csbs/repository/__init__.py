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
from csbs.repository.damage import Damage, damage_of
from csbs.repository.description import RepositoryDescription, describe
from csbs.repository.encoder import BlockEncoder, EncodedBlock
from csbs.repository.key_files import KeyFiles
from csbs.repository.key_ring import KeyRing, KeyUse
from csbs.repository.key_text import recovery_key_text
from csbs.repository.lock import FileLock, repository_lock
from csbs.repository.loss import Loss, OnLoss
from csbs.repository.manifest import Image, Manifest
from csbs.repository.node import DAMAGED, FANOUT, HOLE, STORED, ZERO, Address, Flags
from csbs.repository.reader import FETCH_SIZE_MAX, WINDOW_BLOCKS, Fetch, ImageReader, Run
from csbs.repository.repository import Repository
from csbs.repository.rotate import Rotation
from csbs.repository.share import EVERYTHING, Share, parse_share
from csbs.repository.unlock import Encryption, read_key_ring
from csbs.repository.verify_packs import verify_packs
from csbs.repository.verify_report import (
    DamagedImage,
    DamagedObject,
    VerifyReport,
    VerifyWatch,
)
from csbs.repository.writer import BackupWriter, ImageWriter

__all__ = [
    "DAMAGED",
    "EVERYTHING",
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
    "Damage",
    "DamagedImage",
    "DamagedObject",
    "EncodedBlock",
    "Encryption",
    "Fetch",
    "FileLock",
    "Flags",
    "Image",
    "ImageReader",
    "ImageWriter",
    "KeyFiles",
    "KeyRing",
    "KeyUse",
    "Loss",
    "Manifest",
    "OnLoss",
    "Repository",
    "RepositoryDescription",
    "Rotation",
    "Run",
    "Share",
    "VerifyReport",
    "VerifyWatch",
    "damage_of",
    "describe",
    "parse_share",
    "read_key_ring",
    "recovery_key_text",
    "repository_lock",
    "verify_packs",
]
