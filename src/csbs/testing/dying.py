"""Processes that kill themselves, as `kill -9` would, at a place that a number names.

Every step of a workflow asks for the time when it begins and when it has ended, so the numbers
from 1 on reach both sides of each step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime

from csbs.config import Settings
from csbs.domain.clock import utc_now

_TIMEOUT_S = 120.0


def dies(settings: Settings, module: str, wanted: str, number: int) -> bool:
    """Runs ``python -m csbs.testing.<module> WANTED NUMBER``; whether it killed itself.

    If not, it succeeded.  Settings go through the environment.
    """
    result = subprocess.run(
        [sys.executable, "-m", f"csbs.testing.{module}", wanted, str(number)],
        env=dying_environment(settings),
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert result.returncode in {0, -signal.SIGKILL}, f"exit code {result.returncode}"
    return result.returncode != 0


def dying_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process with these settings."""
    return {
        "CSBS_DATA_DIR": str(settings.data_dir),
        "CSBS_LIBVIRT_URI": settings.libvirt_uri,
        "CSBS_RUN_DIR": str(settings.run_dir),
        "CSBS_SCRATCH_DIR": str(settings.scratch_dir),
        "CSBS_STOP_TIMEOUT_S": str(settings.stop_timeout_s),
        "CSBS_CATALOG_URL": settings.catalog_url,
        "PATH": os.defpath,
    }


class DeadlyClock:
    """Dies when it is asked for the n-th time; never with another number than 1, 2, 3 ..."""

    def __init__(self, die_at: int) -> None:
        self._left = die_at

    def __call__(self) -> datetime:
        """What time it is."""
        self._left -= 1
        if self._left == 0:
            die()
        return utc_now()


def die() -> None:
    """Ends this process, now."""
    os.kill(os.getpid(), signal.SIGKILL)
