"""Programs of the host: run with a time limit, found again and ended after a crash.

A process is known by its id *and* its start (ids come again): a record of both is kept in a file,
and a signal is sent by a descriptor of the process, so it never meets a stranger.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from csbs.domain.errors import ToolFailed

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Index of the start time (in ticks since boot) among the fields behind the program's name.
_START_FIELD = 19
#: States in which only the entry in the table of processes is left.
_ENDED = ("Z", "X")
_KILL_WAIT_S = 5.0
_MESSAGE_SIZE_MAX = 2000


def run_tool(command: Sequence[str], *, doing: str, timeout_s: float) -> str:
    """Runs a program of the host and returns what it printed.

    Raises `ToolFailed` with the last of its error text if it fails, is missing, or takes longer
    than `timeout_s` (then it is killed).
    """
    tool = Path(command[0]).name
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolFailed(tool, doing, f"no end within {timeout_s:g} s") from None
    except FileNotFoundError:
        raise ToolFailed(tool, doing, "the program is not installed") from None
    except OSError as error:
        raise ToolFailed(tool, doing, error.strerror or str(error)) from error
    if result.returncode != 0:
        raise ToolFailed(tool, doing, shown(result.stderr) or f"exit code {result.returncode}")
    return result.stdout


def shown(text: str) -> str:
    """Error text of a program, as one line for a person."""
    return " ".join(text.split())[-_MESSAGE_SIZE_MAX:]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that may have ended meanwhile."""

    pid: int
    program: str
    start_ticks: int
    boot_id: str

    @staticmethod
    def of(pid: int) -> ProcessRecord | None:
        """A process that runs now; None if it does not."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return _parsed(_BOOT_ID.read_text(encoding="utf-8"), stat)
        except OSError:
            return None

    @staticmethod
    def read(path: Path, *, program: str) -> ProcessRecord | None:
        """The process that wrote its boot id and its line of /proc/<pid>/stat to `path`.

        `program` is what it became afterwards.  None if there is no such file, or it was cut off.
        """
        try:
            boot_id, stat = path.read_text(encoding="utf-8", errors="replace").splitlines()
            return replace(_parsed(boot_id, stat), program=program)
        except (OSError, ValueError, IndexError):
            return None

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return self == ProcessRecord.of(self.pid)


def record_process(pid: int, path: Path) -> None:
    """Keeps in `path` what `ProcessRecord.read` needs to find a running process again."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    path.write_text(_BOOT_ID.read_text(encoding="utf-8") + stat, encoding="utf-8")


def end_process(record: ProcessRecord, *, timeout_s: float) -> bool:
    """Asks the process to end, and kills it after `timeout_s`; False if it ran no more.

    Raises `ToolFailed` if it outlives even that (it hangs in the kernel).
    """
    try:
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return False
    try:
        if not record.is_alive():  # asked only now: the descriptor stays with this process
            return False
        _signal(descriptor, signal.SIGTERM)
        if _has_ended(descriptor, timeout_s):
            return True
        _signal(descriptor, signal.SIGKILL)
        if _has_ended(descriptor, _KILL_WAIT_S):
            return True
    finally:
        os.close(descriptor)
    raise ToolFailed(record.program, "ending", f"process {record.pid} cannot be killed")


def _signal(descriptor: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return  # it has just ended, which is what we want


def _has_ended(descriptor: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _parsed(boot_id: str, stat: str) -> ProcessRecord:
    """`stat` is `<pid> (<program>) <state> ...`; the program's name may contain anything."""
    pid, _, rest = stat.partition(" (")
    program, _, behind = rest.rpartition(") ")
    fields = behind.split()
    return ProcessRecord(
        pid=int(pid),
        # A zombie has ended: nobody has asked yet how.
        program="" if fields[0] in _ENDED else program,
        start_ticks=int(fields[_START_FIELD]),
        boot_id=boot_id.strip(),
    )
