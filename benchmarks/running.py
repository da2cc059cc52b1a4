"""Runs a program, and measures what it took: time, processor time, memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.arithmetic import Sample
from csbs.blockio.processes import ProcessRecord, end_process, shown
from csbs.domain.clock import monotonic
from csbs.domain.errors import ToolFailed

#: No lane takes a tenth of it; one that hangs ends the run.
TIMEOUT_S = 1800.0
#: csbs lets a server go when it is asked to end.
_END_TIMEOUT_S = 60.0
_SAMPLE_INTERVAL_S = 0.2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a program took and printed."""

    sample: Sample
    output: str


def run_measured(
    command: Sequence[str],
    *,
    durable: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Done:
    """Runs a program to its end, and until all on the file system of `durable` is on the disk.

    Nothing else waits to be written when it begins.  Raises `ToolFailed`, also if it takes longer
    than `timeout_s`.  Whatever ends this ends the program too: it is asked first, then killed.
    """
    sync(durable)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
        began = monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
            env={**os.environ, **(environment or {})},
        )
        with PeakMemory(process.pid) as memory, _ended_in_time(process, timeout_s):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        sync(durable)
        took_s = monotonic() - began
        output.seek(0)
        messages.seek(0)
        if process.returncode != 0:
            why = shown(messages.read().decode("utf-8", "replace"))
            raise ToolFailed(command[0], " ".join(command[1:]), why or f"{process.returncode}")
        return Done(
            sample=Sample(
                seconds=took_s,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_pss_bytes=memory.peak_bytes,
            ),
            output=output.read().decode("utf-8", "replace"),
        )


@contextmanager
def _ended_in_time(process: subprocess.Popen[bytes], timeout_s: float) -> Iterator[None]:
    """The program runs no more after the body, whatever ends that."""
    timer = threading.Timer(timeout_s, process.terminate)
    killer = threading.Timer(timeout_s + _END_TIMEOUT_S, process.kill)
    for each in (timer, killer):
        each.daemon = True
        each.start()
    try:
        yield
    except BaseException:
        family = [ProcessRecord.of(pid) for pid in descendants(process.pid, _parents())]
        process.terminate()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for record in family:
            if record is not None:
                end_process(record, timeout_s=_END_TIMEOUT_S)
        raise
    finally:
        timer.cancel()
        killer.cancel()


def sync(folder: Path) -> None:
    """Waits until all on the folder's file system is on the disk."""
    subprocess.run(["sync", "-f", str(folder)], check=True)


def cpu_of(pid: int) -> float:
    """User and system time of a running process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class PeakMemory:
    """Looks at the memory of a process and all below it, until its `with` block ends."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_INTERVAL_S):
            family = descendants(self._pid, _parents())
            self.peak_bytes = max(self.peak_bytes, sum(_pss_bytes(pid) for pid in family))


def descendants(pid: int, parents: Mapping[int, int]) -> set[int]:
    """A process and all below it; `parents` has the parent of each."""
    family = {pid}
    while more := {each for each, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _parents() -> dict[int, int]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has just ended
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                found[int(folder.name)] = int(stat.rpartition(") ")[2].split()[1])
    return found


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):  # it has just ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
