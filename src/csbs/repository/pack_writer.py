"""Where a backup's frames go: open packs, and the threads that put full ones.

add_block ──► open pack of blocks ──32 MiB──► put by a thread ──► durable, then in the index
add_node  ──► open pack of nodes  ──32 MiB──► put after all blocks before it are durable
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from csbs.domain.clock import Monotonic, monotonic
from csbs.repository.content_index import ContentIndex
from csbs.repository.effort import Effort, after_pack
from csbs.repository.errors import CorruptObject
from csbs.repository.node import Address
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack import SLOTS_MAX, Content, Frame, PackBuilder, pack_key
from csbs.repository.pack_reader import PackReader

#: Large enough that a request's latency does not count, small enough to hold a few in memory.
PACK_SIZE = 32 * 1024 * 1024

#: Two put threads overlap the sync of one pack with the hashing of the next; one pack may wait.
PUT_THREADS = 2
IN_FLIGHT_MAX = 3

#: Digests of so many last packs are remembered: more than can be in flight, so a block that was
#: looked up in the index before its twin's pack was durable is still found.
RECENT_PACKS_MAX = 8


@dataclass(frozen=True, slots=True)
class PutPack:
    """A pack that is durable, as the store must have it."""

    size_bytes: int
    check: bytes


class _RecentBlocks:
    """Digests of the blocks in the last packs of this backup."""

    def __init__(self) -> None:
        self._addresses: dict[bytes, Address] = {}
        self._packs: deque[list[bytes]] = deque([[]])

    def get(self, digest: bytes) -> Address | None:
        return self._addresses.get(digest)

    def add(self, digest: bytes, address: Address) -> None:
        self._addresses[digest] = address
        self._packs[-1].append(digest)

    def next_pack(self) -> None:
        self._packs.append([])
        if len(self._packs) > RECENT_PACKS_MAX:
            for digest in self._packs.popleft():
                self._addresses.pop(digest, None)


class PackWriter:
    """Takes the frames of one backup; may be used by several threads.

    A put that fails is raised by the next call and by each one after it: what was to be in that
    pack is lost, so the backup must never be committed.
    """

    def __init__(
        self,
        store: ObjectStore,
        index: ContentIndex,
        new_pack: Callable[[Content], PackBuilder],
        *,
        pack_size: int = PACK_SIZE,
        monotonic: Monotonic = monotonic,
    ) -> None:
        """`new_pack` begins a pack; with `pack_size` bytes of frames one is put."""
        self._store = store
        self._index = index
        self._new_pack = new_pack
        self._pack_size = pack_size
        self._blocks: PackBuilder | None = None
        self._nodes: PackBuilder | None = None
        self._recent = _RecentBlocks()
        self._own: dict[bytes, PutPack | None] = {}
        self._stored_bytes = 0
        #: Guards all fields; never held while something is put.
        self._lock = threading.Lock()
        #: One frame after another; held while a full pack waits for room in flight.
        self._block_turn = threading.Lock()
        self._node_turn = threading.Lock()
        self._puts = _Puts(self._put)
        self._monotonic = monotonic
        #: Guarded by the blocks' turn, as is when the last pack of blocks was sent.
        self._effort = Effort()
        self._sent_at_s = monotonic()

    @property
    def level(self) -> int:
        """The level at which blocks should be compressed now."""
        return self._effort.level

    @property
    def stored_bytes(self) -> int:
        """Size of all packs that are durable."""
        with self._lock:
            return self._stored_bytes

    def is_own(self, pack_id: bytes) -> bool:
        """Whether this backup makes the pack."""
        with self._lock:
            return pack_id in self._own

    def add_block(self, frame: Frame) -> Address:
        """Where the block will be; a twin of a recent one is not stored again."""
        with self._block_turn:
            self._puts.require_good()
            known = self._recent.get(frame.digest)
            if known is not None:
                return known
            if self._blocks is None:
                self._blocks = self._begun(Content.BLOCKS)
            address = Address(self._blocks.pack_id, self._blocks.add(frame))
            self._recent.add(frame.digest, address)
            if self._is_full(self._blocks):
                self._send_blocks()
            return address

    def add_node(self, frame: Frame) -> Address:
        """Where the node will be."""
        with self._node_turn:
            self._puts.require_good()
            if self._nodes is None:
                self._nodes = self._begun(Content.NODES)
            address = Address(self._nodes.pack_id, self._nodes.add(frame))
            if self._is_full(self._nodes):
                self._send_nodes()
            return address

    def flush(self) -> None:
        """Puts what is open; all is durable when it returns.  May be repeated."""
        with self._node_turn:
            self._send_nodes()
        self._puts.wait()

    def verify(self, packs: PackReader) -> None:
        """Looks up each own pack in the store.  Raises `MissingPack`, `CorruptObject`."""
        with self._lock:
            own = dict(self._own)
        for pack_id, put in own.items():
            assert put is not None, "flush comes first"
            trailer, size_bytes = packs.trailer(pack_id)
            if (size_bytes, trailer.check) != (put.size_bytes, put.check):
                raise CorruptObject(pack_key(pack_id), "the pack that was put", "another")

    def stop(self) -> None:
        """Drops what is open or waits, lets puts that have begun end; afterwards calls raise."""
        self._puts.stop()
        self._blocks = self._nodes = None

    def close(self) -> None:
        """Ends the put threads, after `flush`."""
        self._puts.close()

    def _is_full(self, pack: PackBuilder) -> bool:
        return pack.size_bytes >= self._pack_size or pack.slot_count == SLOTS_MAX

    def _send_nodes(self) -> None:
        """Puts the open nodes behind all blocks that they may name."""
        with self._block_turn:
            self._send_blocks()
        if self._nodes is not None:
            nodes, self._nodes = self._nodes, None
            self._puts.wait()
            self._puts.submit(nodes)

    def _send_blocks(self) -> None:
        if self._blocks is not None:
            blocks, self._blocks = self._blocks, None
            self._recent.next_pack()
            began_s = self._monotonic()
            self._puts.submit(blocks)
            ended_s = self._monotonic()
            self._effort = after_pack(
                self._effort, waited_s=ended_s - began_s, took_s=ended_s - self._sent_at_s
            )
            self._sent_at_s = ended_s

    def _begun(self, content: Content) -> PackBuilder:
        pack = self._new_pack(content)
        with self._lock:
            self._own[pack.pack_id] = None
        return pack

    def _put(self, pack: PackBuilder) -> None:
        parts = pack.finish()
        size_bytes = sum(len(part) for part in parts)
        self._store.put(pack_key(pack.pack_id), parts)
        if pack.content is Content.BLOCKS:
            self._index.add_pack(pack.pack_id, pack.digests)
        with self._lock:
            self._own[pack.pack_id] = PutPack(size_bytes, bytes(parts[-1]))
            self._stored_bytes += size_bytes


class _Puts:
    """A bounded number of puts on their way; remembers the first failure for good."""

    def __init__(self, put: Callable[[PackBuilder], None]) -> None:
        self._put = put
        self._pool = ThreadPoolExecutor(PUT_THREADS, thread_name_prefix="put-pack")
        self._room = threading.Semaphore(IN_FLIGHT_MAX)
        self._pending: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False

    def require_good(self) -> None:
        """Raises what a put raised; asserts that the writer was not stopped."""
        with self._lock:
            assert not self._stopped, "the backup was given up"
            failure = self._failure
        if failure is not None:
            raise failure

    def submit(self, pack: PackBuilder) -> None:
        """Begins the put; waits while too many are on their way."""
        self._room.acquire()
        try:
            self.require_good()
            future = self._pool.submit(self._run, pack)
        except BaseException:
            self._room.release()
            raise
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._ended)

    def wait(self) -> None:
        """Waits for all that was submitted before.  Raises what a put raised."""
        with self._lock:
            pending = list(self._pending)
        for future in pending:
            future.exception()
        self.require_good()

    def stop(self) -> None:
        """Drops what waits; returns when no put is under way."""
        with self._lock:
            self._stopped = True
        self._pool.shutdown(wait=True)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True)

    def _run(self, pack: PackBuilder) -> None:
        if self._is_over():
            return  # nothing behind a lost pack is worth its space
        try:
            self._put(pack)
        except BaseException as error:
            with self._lock:
                if self._failure is None:
                    self._failure = error
            raise

    def _is_over(self) -> bool:
        with self._lock:
            return self._stopped or self._failure is not None

    def _ended(self, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)
        self._room.release()
