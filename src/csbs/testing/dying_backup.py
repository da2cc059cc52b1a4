"""A backup by a process that kills itself: at the n-th time that it asks what time it is.

    python -m csbs.testing.dying_backup SERVER N

Settings come from the environment.  Every step of a workflow asks for the time when it begins and
when it has ended, so the numbers from 1 on reach both sides of each step.  0 is the first sign of
progress: in the middle of a copy.  With a number that is too large the backup succeeds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime

from csbs.app import open_app
from csbs.config import Settings, load_settings
from csbs.domain.clock import utc_now
from csbs.domain.ids import ServerId
from csbs.domain.task import Progress
from csbs.services.backups import CreateBackup
from csbs.workflows.run import Watcher

_TIMEOUT_S = 120.0


def backup_dies(settings: Settings, server_id: ServerId, number: int) -> bool:
    """Lets another process back the server up; whether it killed itself at `number`.

    If not, the backup succeeded.
    """
    environment = {
        "CSBS_DATA_DIR": str(settings.data_dir),
        "CSBS_LIBVIRT_URI": settings.libvirt_uri,
        "CSBS_RUN_DIR": str(settings.run_dir),
        "CSBS_SCRATCH_DIR": str(settings.scratch_dir),
    }
    result = subprocess.run(
        [sys.executable, "-m", "csbs.testing.dying_backup", server_id, str(number)],
        env=environment | {"PATH": os.defpath},
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert result.returncode in {0, -signal.SIGKILL}, f"exit code {result.returncode}"
    return result.returncode != 0


class _DeadlyClock:
    def __init__(self, die_at: int) -> None:
        self._left = die_at

    def __call__(self) -> datetime:
        self._left -= 1
        if self._left == 0:
            _die()
        return utc_now()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Backs the server up, or dies."""
    server, number = sys.argv[1], int(sys.argv[2])

    def on_progress(_: Progress) -> None:
        if number == 0:
            _die()

    with open_app(load_settings(None)) as app:
        backups = replace(app.backups, clock=_DeadlyClock(number))
        watcher = Watcher(on_progress=on_progress, cancel=threading.Event())
        backups.create(CreateBackup(server=server), watcher)


if __name__ == "__main__":
    main()
