"""Large objects pass by the page cache: nobody reads them again soon.

Copying into fresh pages of the cache costs more processor time than packing does, and it pushes
out what the servers of this host have there.  Where a file system cannot (or a range is not
aligned), the cache is used.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from csbs.repository.objectstore.base import Bytes

#: What is smaller is likely to be asked for again: manifests, footers, nodes of maps.
DIRECT_SIZE_MIN = 1024 * 1024

#: Suits every device that is in use; of offsets, sizes and addresses in memory.
_ALIGNMENT = 4096
_BUFFER_SIZE = 4 * 1024 * 1024


def write_parts(descriptor: int, parts: Sequence[Bytes]) -> None:
    """Writes the parts one after another to a new file.  Raises `OSError`."""
    size_bytes = sum(len(part) for part in parts)
    if size_bytes < DIRECT_SIZE_MIN or not _set_direct(descriptor, on=True):
        for part in parts:
            _write_all(descriptor, memoryview(part))
        return
    with _buffer() as buffer:
        for filled in _gathered(parts, buffer):
            aligned = filled - filled % _ALIGNMENT
            _write_all(descriptor, buffer[:aligned])
            if aligned < filled:  # the end of the file
                _set_direct(descriptor, on=False)
                _write_all(descriptor, buffer[aligned:filled])


def read_range(descriptor: int, offset: int, size_bytes: int) -> bytes:
    """The bytes of the range; fewer where the file ends before.  Raises `OSError`."""
    if size_bytes < DIRECT_SIZE_MIN or not _set_direct(descriptor, on=True):
        return _read_all(descriptor, offset, size_bytes)
    parts: list[bytes] = []
    at, end = offset, offset + size_bytes
    with _buffer() as buffer:
        while at < end:
            start = at - at % _ALIGNMENT
            wanted = min(-(-(end - start) // _ALIGNMENT) * _ALIGNMENT, _BUFFER_SIZE)
            try:
                got = os.preadv(descriptor, [buffer[:wanted]], start)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                _set_direct(descriptor, on=False)
                return b"".join((*parts, _read_all(descriptor, at, end - at)))
            parts.append(bytes(buffer[at - start : min(got, end - start)]))
            at = start + got
            if got < wanted:  # the end of the file, or a short read, which the next one tells
                break
    rest = b"" if at >= end else _rest(descriptor, at, end)
    return b"".join((*parts, rest)) if len(parts) != 1 or rest else parts[0]


def _rest(descriptor: int, start: int, end: int) -> bytes:
    _set_direct(descriptor, on=False)
    return _read_all(descriptor, start, end - start)


def _gathered(parts: Sequence[Bytes], buffer: memoryview) -> Iterator[int]:
    """Fills the buffer with the parts, again and again; yields how much is in it."""
    filled = 0
    for part in parts:
        left = memoryview(part)
        while left:
            taken = min(len(left), len(buffer) - filled)
            buffer[filled : filled + taken] = left[:taken]
            filled, left = filled + taken, left[taken:]
            if filled == len(buffer):
                yield filled
                filled = 0
    if filled:
        yield filled


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError as error:
            if error.errno != errno.EINVAL or not _set_direct(descriptor, on=False):
                raise


def _read_all(descriptor: int, offset: int, size_bytes: int) -> bytes:
    data = os.pread(descriptor, size_bytes, offset)
    if len(data) == size_bytes or not data:
        return data
    parts = [data]
    missing = size_bytes - len(data)
    while missing and (data := os.pread(descriptor, missing, offset + size_bytes - missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def _set_direct(descriptor: int, *, on: bool) -> bool:
    """Whether the mode was changed: not where it is so already, or the file system cannot."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    wanted = flags | os.O_DIRECT if on else flags & ~os.O_DIRECT
    if wanted == flags:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, wanted)
    except OSError:
        return False
    return True


#: Aligned memory that is not in use; it is dear to get, and calls come from threads that end.
_free: list[mmap.mmap] = []
_FREE_MAX = 8


@contextmanager
def _buffer() -> Iterator[memoryview]:
    try:
        memory = _free.pop()
    except IndexError:
        memory = mmap.mmap(-1, _BUFFER_SIZE)
    with memoryview(memory) as view:
        yield view
    if len(_free) < _FREE_MAX:
        _free.append(memory)
