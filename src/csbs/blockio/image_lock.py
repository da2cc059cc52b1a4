"""QEMU's lock on image files, for the one promise that qemu-nbd does not keep for raw images.

QEMU takes open-file-description locks on single bytes of an image: byte 100 + n says "I use
permission n", byte 200 + n "I let nobody else use it".  A read-only qemu-nbd of a raw image lets
others write, so the server could start and write in the middle of a backup.  Holding byte 201
(nobody else writes) and 203 (nobody else resizes) refuses that, as it does for qcow2.  One that
writes a raw image refuses a server, but not another qemu-nbd.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csbs.domain.errors import ToolFailed

_USED, _UNSHARED = 100, 200
_WRITE, _RESIZE = 1, 3
#: struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


@contextmanager
def nobody_writes(path: Path) -> Iterator[None]:
    """No QEMU can open the image for writing during the body.

    Raises `ToolFailed` if one has it open for writing now, or it cannot be opened.
    """
    with _refused_to_others(path) as descriptor:
        for permission in (_WRITE, _RESIZE):
            asked = fcntl.fcntl(
                descriptor, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK, _USED + permission)
            )
            if _FLOCK.unpack(asked)[0] != fcntl.F_UNLCK:
                why = "another process has it open for writing"
                raise ToolFailed("the image lock", f"locking {path}", why)
        yield


@contextmanager
def nobody_else_writes(path: Path) -> Iterator[None]:
    """The same, but whoever has it open for writing now goes on.

    Raises `ToolFailed` if it cannot be opened.
    """
    with _refused_to_others(path):
        yield


@contextmanager
def _refused_to_others(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ToolFailed("the image lock", f"opening {path}", str(error.strerror)) from error
    try:
        for permission in (_WRITE, _RESIZE):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK, _UNSHARED + permission))
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
