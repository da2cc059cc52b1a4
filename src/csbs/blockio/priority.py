"""Low priority: others on the host go first, to its processors and to its disks.

Linux keeps both priorities for each thread.  A thread inherits those of the one that starts it,
and so does a process.  Whoever is low can become usual again with a right only that few have, so
threads that must be quick to let a server go are never made low in the first place.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
import threading
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

#: As low as a process of a person usually goes; a disk's scheduler has its own scale.
NICE = 10
#: ioprio.h: class best-effort, the lowest of its eight levels.
_IO_PRIORITY = (2 << 13) | 7
_WHO_PROCESS = 1
#: The C library has no function for it; the numbers of the system call differ.
_IOPRIO_SET = {
    "x86_64": 251,
    "aarch64": 30,
    "riscv64": 30,
    "loongarch64": 30,
    "ppc64le": 273,
    "s390x": 282,
}


def lower_own_priority() -> None:
    """Makes the calling thread low, and what it starts from now on; at worst it logs a warning."""
    _lower([threading.get_native_id()])


def lower_priority(pid: int) -> None:
    """Makes all threads of a process low; at worst it logs a warning."""
    lowered: set[int] = set()
    while found := _threads_of(pid) - lowered:  # one that was not yet low may start another
        if not _lower(sorted(found)):
            return
        lowered |= found


def _threads_of(pid: int) -> set[int]:
    try:
        return {int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()}
    except OSError:  # it has ended
        return set()


def _lower(threads: list[int]) -> bool:
    try:
        for thread in threads:
            os.setpriority(
                os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread))
            )
            _set_io_priority(thread)
    except ProcessLookupError:  # it has ended
        return True
    except OSError as error:
        _warn(error.strerror or str(error))
        return False
    return True


@cache
def _warn(why: str) -> None:
    """Once is enough: all threads meet the same."""
    log.warning("csbs copies at the usual priority", extra={"why": why})


def _set_io_priority(thread: int) -> None:
    number = _IOPRIO_SET.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _WHO_PROCESS, thread, _IO_PRIORITY) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
