"""A service, without its HTTP, in a process that kills itself.

    python -m csbs.testing.dying_service backup|restore|deletion WANTED PLACE STEP
    python -m csbs.testing.dying_service wait

Settings come from the environment.  The first form submits a task for the server or backup WANTED,
waits for its end, and dies at that PLACE of that STEP: `before` it, `in` it, when it has begun, or
`after` it.  The second form waits until the tasks that it finds have ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from csbs.config import Settings, load_settings
from csbs.domain.ids import BackupId
from csbs.domain.task import Task
from csbs.service import open_service
from csbs.services.project_app import App
from csbs.services.requests import CreateBackup, RestoreRequest
from csbs.testing.dying import die, dying_environment
from csbs.workflows.run import LocalRun

_TIMEOUT_S = 240.0
_LOOK_INTERVAL_S = 0.1


def service_dies(settings: Settings, kind: str, wanted: str, place: str, step: str) -> bool:
    """Lets a service in another process carry a task out; whether it killed itself there."""
    return _run(settings, kind, wanted, place, step) != 0


def next_life(settings: Settings) -> None:
    """Lets a service in another process go on with all that it finds."""
    assert _run(settings, "wait") == 0, "a service that nothing kills ends by itself"


def _run(settings: Settings, *arguments: str) -> int:
    result = subprocess.run(
        [sys.executable, "-m", "csbs.testing.dying_service", *arguments],
        env=dying_environment(settings) | {"CSBS_BOOTSTRAP_PASSWORD": "no-matter-which-1"},
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert result.returncode in {0, -9}, f"exit code {result.returncode}"
    return result.returncode


def _die_at(place: str, wanted: str) -> None:
    """Makes the steps of this name deadly."""
    step: Callable[..., Any] = LocalRun.step

    def deadly_step(
        run: LocalRun, name: str, action: Callable[..., Any], *args: Any, **more: Any
    ) -> Any:
        here = place if name == wanted else ""
        if here == "before":
            die()

        def deadly_action() -> Any:
            if here == "in":
                # A while later, when the step is under way.
                threading.Timer(0.05, die).start()
            return action(*args, **more)

        result = step(run, name, deadly_action)
        if here == "after":
            die()
        return result

    LocalRun.step = deadly_step  # type: ignore[assignment]  # loses the types of `P` and `T`


def _submit(app: App, kind: str, wanted: str) -> None:
    if kind == "backup":
        app.backups.submit(CreateBackup(server=wanted))
    elif kind == "restore":
        app.restores.submit(wanted, RestoreRequest(power_on=True))
    else:
        app.backups.submit_deletion(BackupId(wanted))


def _open_tasks(app: App) -> list[Task]:
    return [task for task in app.tasks.list_all() if task.is_open]


def main() -> None:
    """Submits, waits, or dies."""
    kind, *arguments = sys.argv[1:]
    with open_service(load_settings(None)) as service:
        app = service.region.project_app(service.region.projects.find("local").id)
        if kind != "wait":
            wanted, place, step = arguments
            _die_at(place, step)
            _submit(app, kind, wanted)
        never = threading.Event()
        while _open_tasks(app):
            never.wait(_LOOK_INTERVAL_S)
    sys.stdout.flush()
    os._exit(0)  # threads of a timer that came too late must not kill what has ended


if __name__ == "__main__":
    main()
