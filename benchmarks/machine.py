"""Where it was measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from benchmarks.source import FILES_OF, Source
from csbs.blockio.processes import run_tool
from csbs.domain.clock import utc_now

_TIMEOUT_S = 20.0
_LOAD_MAX = 0.5
#: What a reader must know then.
_BUSY = "the machine is busy with other things; times, and ratios of times, are not to be relied on"
#: What each program says of itself first.
_VERSIONS = (
    ("qemu-img", "--version"),
    ("zstd", "--version"),
    ("restic", "version"),
    ("borg", "--version"),
    ("virtnbdbackup", "--version"),
)


def machine_facts(source: Source) -> dict[str, str]:
    """What a reader must know of the machine and the disk."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "machine": f"{os.cpu_count()} cores of {_model()}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "date": utc_now().date().isoformat(),
        "source_path": f"{source.files_bytes / 1e9:.2f} GB of files of "
        f"{', '.join(str(each) for each in FILES_OF)} in ext4 in a qcow2 image of 8 GiB "
        f"({source.allocated_bytes / 1e9:.2f} GB allocated, in the page cache), "
        "read through qemu-nbd by libnbd",
        "programs": "; ".join(_version(*command) for command in _VERSIONS),
    }


def load() -> str:
    """Processes that want a processor: of the last 1, 5 and 15 minutes."""
    return ", ".join(f"{each:.1f}" for each in os.getloadavg())


def load_at_start() -> str:
    """`load`, and whether others have used half a processor or more in the last minute."""
    return load() + (f": {_BUSY}" if os.getloadavg()[0] > _LOAD_MAX else "")


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _version(*command: str) -> str:
    said = run_tool(command, doing="asking for its version", timeout_s=_TIMEOUT_S)
    return f"{command[0]}: {said.strip().splitlines()[0].strip(' *')}"


def cores() -> int:
    """Processors of this machine."""
    return os.cpu_count() or 1
