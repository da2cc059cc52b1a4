"""Collection of 100 backups of 10 million blocks, 1,024 random ones changed from each to the next.

python -m benchmarks.collection FOLDER      one collection of what is there; prints its seconds

Each collection is a process of its own, so that its memory can be told.  Nothing is freed: the
work is to mark.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.aged import aged_repository
from benchmarks.arithmetic import Sample
from benchmarks.running import run_measured
from csbs.domain.clock import monotonic
from csbs.repository import ContentIndex
from csbs.repository.node import FANOUT

_BACKUPS = 100
#: Whole leaves.
_DISK_BLOCKS = 10_000_000 // FANOUT * FANOUT


def measure_collection(folder: Path, *, rounds: int, keep: Callable[[str, Sample], None]) -> None:
    """Makes the backups (a minute), and collects `rounds` times."""
    aged_repository(folder, age=_BACKUPS - 1, disk_blocks=_DISK_BLOCKS)
    for _ in range(rounds):
        command = [sys.executable, "-m", "benchmarks.collection", str(folder)]
        done = run_measured(command, durable=folder)
        keep("collect", replace(done.sample, seconds=float(done.output)))


def _collect(folder: Path) -> float:
    aged = aged_repository(folder, age=_BACKUPS - 1, disk_blocks=_DISK_BLOCKS)
    index = ContentIndex(folder / "index.sqlite")
    began = monotonic()
    report = aged.repository.collect(index)
    took_s = monotonic() - began
    index.close()
    assert report.packs_deleted == 0, "all backups are live"
    return took_s


if __name__ == "__main__":
    print(_collect(Path(sys.argv[1])))
