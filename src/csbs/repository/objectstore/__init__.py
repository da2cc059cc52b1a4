"""Object stores: the port, a local folder, memory, and decorators for any of them.

The store in S3 is in `s3.py`, which only those import who use it: it loads much.
"""

from csbs.repository.objectstore.around import AroundStore
from csbs.repository.objectstore.base import Bytes, ObjectInfo, ObjectStore
from csbs.repository.objectstore.folder import FolderStore, MinFree, default_min_free
from csbs.repository.objectstore.memory import MemoryStore
from csbs.repository.objectstore.metering import MeteredStore, StoreUse
from csbs.repository.objectstore.reserve import RESERVE_SIZE, Reserve
from csbs.repository.objectstore.retry import RetryingStore, RetryPolicy
from csbs.repository.objectstore.tail import TailStore, tail_of
from csbs.repository.objectstore.throttle import ThrottledStore
from csbs.repository.objectstore.time_limit import TimeLimit, TimeLimitedStore

__all__ = [
    "RESERVE_SIZE",
    "AroundStore",
    "Bytes",
    "FolderStore",
    "MemoryStore",
    "MeteredStore",
    "MinFree",
    "ObjectInfo",
    "ObjectStore",
    "Reserve",
    "RetryPolicy",
    "RetryingStore",
    "StoreUse",
    "TailStore",
    "ThrottledStore",
    "TimeLimit",
    "TimeLimitedStore",
    "default_min_free",
    "tail_of",
]
