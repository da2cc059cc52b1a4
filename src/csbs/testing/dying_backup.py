"""A backup by a process that kills itself.

    python -m csbs.testing.dying_backup SERVER N

Settings come from the environment.  N is a place of `csbs.testing.dying`; 0 is the first sign of
progress: in the middle of a copy.  With a number that is too large the backup succeeds.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

from csbs.app import open_app
from csbs.config import Settings, load_settings
from csbs.domain.ids import ServerId
from csbs.domain.task import Progress
from csbs.services.requests import CreateBackup
from csbs.testing.dying import DeadlyClock, die, dies
from csbs.workflows.run import Watcher


def backup_dies(settings: Settings, server_id: ServerId, number: int) -> bool:
    """Lets another process back the server up; whether it killed itself at `number`.

    If not, the backup succeeded.
    """
    return dies(settings, "dying_backup", server_id, number)


def main() -> None:
    """Backs the server up, or dies."""
    server, number = sys.argv[1], int(sys.argv[2])

    def on_progress(_: Progress) -> None:
        if number == 0:
            die()

    with open_app(load_settings(None)) as app:
        backups = replace(app.backups, clock=DeadlyClock(number))
        watcher = Watcher(on_progress=on_progress, cancel=threading.Event())
        backups.create(CreateBackup(server=server), watcher)


if __name__ == "__main__":
    main()
