"""A restore by a process that kills itself.

    python -m csbs.testing.dying_restore BACKUP N

Settings come from the environment.  N is a place of `csbs.testing.dying`; -1, -2 ... die when so
many requests that write have been carried out.  With a number that is too large (or too small)
the restore succeeds; the server stays stopped.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from csbs.app import open_app
from csbs.blockio.nbd import NbdClient
from csbs.config import Settings, load_settings
from csbs.domain.ids import BackupId
from csbs.services.requests import RestoreRequest
from csbs.testing.dying import DeadlyClock, die, dies
from csbs.workflows.run import Watcher


def restore_dies(settings: Settings, backup_id: BackupId, number: int) -> bool:
    """Lets another process restore the backup; whether it killed itself at `number`.

    If not, the restore succeeded.
    """
    return dies(settings, "dying_restore", backup_id, number)


def _die_after_writes(count: int) -> None:
    lock = threading.Lock()
    left = [count]

    def counted(carry_out: Callable[..., None]) -> Callable[..., None]:
        def do(*arguments: Any) -> None:
            carry_out(*arguments)
            with lock:
                left[0] -= 1
                if left[0] == 0:
                    die()

        return do

    for name in ("write", "zero"):
        setattr(NbdClient, name, counted(getattr(NbdClient, name)))


def main() -> None:
    """Restores the backup, or dies."""
    backup, number = sys.argv[1], int(sys.argv[2])
    if number < 0:
        _die_after_writes(-number)
    with open_app(load_settings(None)) as app:
        restores = replace(app.restores, clock=DeadlyClock(number))
        watcher = Watcher(on_progress=lambda _: None, cancel=threading.Event())
        restores.restore(restores.plan(backup), watcher, RestoreRequest(power_on=False))


if __name__ == "__main__":
    main()
