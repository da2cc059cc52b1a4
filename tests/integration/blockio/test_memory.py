"""Freed buffers are used again, as the kernel counts it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, sys
from csbs.blockio.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):  # the heap has grown, and glibc has learned what it learns by itself
    buffers = [bytearray(4 << 20) for _ in range(4)]
    del buffers
before = faults()
for _ in range(10):
    buffers = [bytearray(4 << 20) for _ in range(4)]
    del buffers
print(faults() - before)
"""
_PAGES_OF_ALL = 10 * 4 * (4 << 20) // 4096


def test_freed_buffers_cost_no_new_pages() -> None:
    assert _faults("keep") < _PAGES_OF_ALL // 10


def test_without_it_they_do() -> None:
    assert _faults("leave") > _PAGES_OF_ALL // 2


def _faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return int(done.stdout)
