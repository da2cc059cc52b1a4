"""Keeps memory that was freed, for the next buffer.

The C library gives large buffers back to the kernel as soon as they are freed, and the kernel
zeroes each page anew for the next one: a third of the processor time of a restore.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

# malloc.h of glibc
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

#: No buffer of a copy is larger; it is also the most that glibc takes.
_BUFFER_SIZE_MAX: Final = 32 * 1024**2
#: What may lie free at the end of a heap.
_KEPT_SIZE_MAX: Final = 64 * 1024**2
#: A heap grows by this, so not for each buffer.
_GROWTH_SIZE: Final = 16 * 1024**2


def keep_freed_memory() -> None:
    """Applies to the whole process, from now on; does nothing where the C library cannot."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BUFFER_SIZE_MAX)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_SIZE_MAX)
        mallopt(_M_TOP_PAD, _GROWTH_SIZE)
