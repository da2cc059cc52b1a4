"""Object stores: the port, a local folder, memory."""

from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.folder import FolderStore, MinFree, default_min_free
from csbs.repository.objectstore.memory import MemoryStore
from csbs.repository.objectstore.reserve import RESERVE_SIZE, Reserve

__all__ = [
    "RESERVE_SIZE",
    "Bytes",
    "FolderStore",
    "MemoryStore",
    "MinFree",
    "ObjectInfo",
    "ObjectStore",
    "Reserve",
    "default_min_free",
]
