"""A client of one NBD export, over libnbd.

Extents come from block-status requests.  The server may answer with less than was asked (ask again
from where it stopped) or with more (cut it off), and each meta context has its own steps:

    asked              [--------------------)
    base:allocation    [DDDD|DDD|000|DDDDDDDDDDDD     past the end: cut
    dirty bitmap       [.....|xxxxxx|..)              stops early
    result             [DDDDD|DD|000|DD)              as far as both go
    then asked                         [----)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import nbd

from csbs.blockio.watch import Ended, Watch
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import Allocation, Extent, overlaid

#: The meta context of what is hole, zero or data.
BASE_ALLOCATION = nbd.CONTEXT_BASE_ALLOCATION

#: The length field of a request has 32 bits; 2 GiB stays aligned at every block size.
QUERY_SIZE_MAX = 2 * 1024**3

#: A server that writes zeroes by hand must finish a piece well within the answer limit.
ZERO_SIZE_MAX = 128 * 1024**2

#: QEMU's bitmap contexts: bit 0 says dirty.
_DIRTY = 1

_CONNECT_POLL_MS = 100
#: How often a closed connection is looked at until the server has let go too.
_CLOSE_POLLS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NbdExport:
    """What to connect to; `disk` is its name in errors."""

    uri: str
    disk: str
    #: Meta contexts that the server must have.
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NbdLimits:
    """How long a server may be silent."""

    answer_timeout_s: float = 60.0
    #: A flush waits for all that the host still caches: gigabytes, on a slow disk.
    flush_timeout_s: float = 900.0


class NbdClient:
    """One connection, for one thread at a time.

    All methods raise `DiskUnreadable`, naming the disk, what was done, and why it failed: an error
    of the server, a lost connection, no answer within the limit.  Nothing is tried again.  They
    raise `OperationCancelled` when the watch says that the call is not wanted any more.
    """

    def __init__(self, export: NbdExport, watch: Watch, limits: NbdLimits) -> None:
        self._export = export
        self._watch = watch
        self._limits = limits
        self._nbd = nbd.NBD()
        self._open = ExitStack()
        self._broken = False
        try:
            self._connect()
            self._check_contexts()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the server.  May be repeated."""
        self._open.close()
        if hasattr(self, "_nbd"):
            if not self._broken:
                self._say_goodbye()
            del self._nbd  # libnbd closes a connection when its last reference goes

    @property
    def size_bytes(self) -> int:
        """Size of the export."""
        with self._asking("asking for its size"):
            return self._nbd.get_size()

    @property
    def is_read_only(self) -> bool:
        """Whether the server refuses writes."""
        with self._asking("asking whether it is read-only"):
            return self._nbd.is_read_only()

    @property
    def can_multi_conn(self) -> bool:
        """Whether several connections see each other's writes, and one flush covers them all."""
        with self._asking("asking whether connections agree"):
            return self._nbd.can_multi_conn()

    def read(self, offset_bytes: int, size_bytes: int) -> bytearray:
        """Exactly these bytes."""
        doing = f"reading {size_bytes} bytes at offset {offset_bytes}"
        with self._calling(doing, self._limits.answer_timeout_s):
            return self._nbd.pread(size_bytes, offset_bytes)

    def write(self, offset_bytes: int, data: bytes | bytearray | memoryview) -> None:
        """Writes these bytes; they are durable after `flush`."""
        doing = f"writing {len(data)} bytes at offset {offset_bytes}"
        with self._calling(doing, self._limits.answer_timeout_s):
            self._nbd.pwrite(data, offset_bytes)

    def zero(self, offset_bytes: int, size_bytes: int) -> None:
        """Makes at most `ZERO_SIZE_MAX` bytes read as zero; the server may free their space."""
        doing = f"zeroing {size_bytes} bytes at offset {offset_bytes}"
        assert size_bytes <= ZERO_SIZE_MAX
        with self._calling(doing, self._limits.answer_timeout_s):
            self._nbd.zero(size_bytes, offset_bytes)

    def flush(self) -> None:
        """Returns when all that was written by this connection is durable."""
        with self._calling("flushing", self._limits.flush_timeout_s):
            if self._nbd.can_flush():
                self._nbd.flush()

    def extents(
        self, dirty_context: str | None, *, start: int = 0, end: int | None = None
    ) -> Iterator[Extent]:
        """The disk from byte `start` to its end, or to `end`, without gaps.

        Without a context all of it is dirty.

        Both `base:allocation` and the context must be among the export's contexts.
        """
        offset, last = start, self.size_bytes if end is None else end
        while offset < last:
            stop = min(offset + QUERY_SIZE_MAX, last)
            for extent in self._extents_between(offset, stop, dirty_context):
                yield extent
                offset = extent.end

    def _extents_between(self, start: int, end: int, dirty_context: str | None) -> list[Extent]:
        answers: dict[str, list[int]] = {}

        def answer(context: str, _offset: int, entries: list[int], _error: Any) -> int:
            answers.setdefault(
                context, entries
            )  # one answer is the rule; the first is the safe one
            return 0

        doing = f"asking for its extents at offset {start}"
        with self._calling(doing, self._limits.answer_timeout_s):
            self._nbd.block_status(end - start, start, answer)
        allocations = [
            (stop, _allocation(flags))
            for stop, flags in _steps(answers.get(BASE_ALLOCATION, []), start, end)
        ]
        changes = [(end, True)]
        if dirty_context is not None:
            changes = [
                (stop, bool(flags & _DIRTY))
                for stop, flags in _steps(answers.get(dirty_context, []), start, end)
            ]
        extents = list(overlaid(start, allocations, changes))
        if not extents:
            raise DiskUnreadable(self._export.disk, doing, "the NBD server's answer is empty")
        return extents

    def _connect(self) -> None:
        for context in self._export.contexts:
            self._nbd.add_meta_context(context)
        deadline = self._watch.now() + self._limits.answer_timeout_s
        with self._asking("connecting to its NBD server"):
            self._nbd.aio_connect_uri(self._export.uri)
            while self._nbd.aio_is_connecting():
                self._nbd.poll(_CONNECT_POLL_MS)
                if self._watch.unwanted():
                    raise self._cancelled()
                if self._watch.now() >= deadline:
                    raise self._late("connecting to its NBD server", self._limits.answer_timeout_s)
            descriptor = os.dup(self._nbd.aio_get_fd())
        self._socket = self._open.enter_context(
            self._watch.over(socket.socket(fileno=descriptor)),
        )

    def _check_contexts(self) -> None:
        for context in self._export.contexts:
            with self._asking(f"asking for {context}"):
                offered = self._nbd.can_meta_context(context)
            if not offered:
                raise DiskUnreadable(
                    self._export.disk,
                    "asking for its extents",
                    f"the NBD server does not offer {context}",
                )

    @contextmanager
    def _calling(self, doing: str, timeout_s: float) -> Iterator[None]:
        """Bounds a call to the server, and makes its errors ours."""
        if self._watch.unwanted():
            raise self._cancelled()
        self._socket.begin(self._watch.now() + timeout_s)
        try:
            with self._asking(doing):
                yield
        except DiskUnreadable as error:
            if self._socket.ended is Ended.UNWANTED:
                raise self._cancelled() from error
            if self._socket.ended is Ended.LATE:
                raise self._late(doing, timeout_s) from error
            raise
        finally:
            self._socket.end()

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Makes errors of libnbd ours."""
        try:
            yield
        except nbd.Error as error:
            self._broken = True
            raise DiskUnreadable(self._export.disk, doing, _reason(error)) from error
        except BaseException:
            self._broken = True  # a call may still be under way
            raise

    def _late(self, doing: str, timeout_s: float) -> DiskUnreadable:
        return DiskUnreadable(
            self._export.disk, doing, f"the NBD server did not answer within {timeout_s:g} s"
        )

    def _cancelled(self) -> OperationCancelled:
        return OperationCancelled(f"the copy of disk {self._export.disk}")

    def _say_goodbye(self) -> None:
        """Tells the server, and gives it a moment: some log a client that vanishes as an error."""
        with suppress(nbd.Error):
            self._nbd.aio_disconnect()
            for _ in range(_CLOSE_POLLS_MAX):
                if self._nbd.aio_is_closed() or self._nbd.aio_is_dead():
                    break
                self._nbd.poll(_CONNECT_POLL_MS)


def _reason(error: nbd.Error) -> str:
    """What libnbd says, without the name of its function in front."""
    function, _, reason = error.string.partition(": ")
    return reason if function.startswith("nbd_") and reason else error.string


def _steps(entries: Sequence[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """(end, flags) from an answer's (length, flags), cut at `end`."""
    for length, flags in zip(entries[::2], entries[1::2], strict=True):
        start = min(start + length, end)
        yield start, flags


def _allocation(flags: int) -> Allocation:
    """Only the zero flag promises zeroes: a hole without it may read as anything."""
    if not flags & nbd.STATE_ZERO:
        return Allocation.DATA
    return Allocation.HOLE if flags & nbd.STATE_HOLE else Allocation.ZERO
