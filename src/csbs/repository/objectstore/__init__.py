"""Object stores: the port, a local folder, memory."""

from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.folder import FolderStore, MinFree, default_min_free
from csbs.repository.objectstore.memory import MemoryStore

__all__ = [
    "Bytes",
    "FolderStore",
    "MemoryStore",
    "MinFree",
    "ObjectInfo",
    "ObjectStore",
    "default_min_free",
]
