"""Object stores: the port, a local folder, memory, and time limits for any of them."""

from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.folder import FolderStore, MinFree, default_min_free
from csbs.repository.objectstore.memory import MemoryStore
from csbs.repository.objectstore.reserve import RESERVE_SIZE, Reserve
from csbs.repository.objectstore.time_limit import TimeLimit, TimeLimitedStore

__all__ = [
    "RESERVE_SIZE",
    "Bytes",
    "FolderStore",
    "MemoryStore",
    "MinFree",
    "ObjectInfo",
    "ObjectStore",
    "Reserve",
    "TimeLimit",
    "TimeLimitedStore",
    "default_min_free",
]
