"""A service, without its HTTP, whose policies run by a hurried clock.

    python -m csbs.testing.hurried_service EPOCH SPEED

By that clock SPEED seconds pass in one, from EPOCH (ISO 8601) on.  Settings come from the
environment.  It says `ready`, `at work` when a task runs, and how many backups are available each
time that there are more; it ends when its standard input does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from csbs.config import Settings, load_settings
from csbs.domain.backup import BackupState
from csbs.domain.clock import Clock, utc_now
from csbs.domain.task import TaskState
from csbs.service import Service, Substitutes, open_service

_LOOK_S = 0.05


def hurried(epoch: datetime, speed: float) -> Clock:
    """The same for all processes with this epoch."""
    return lambda: epoch + (utc_now() - epoch) * speed


@contextmanager
def hurried_service(settings: Settings, epoch: datetime, speed: float) -> Iterator[Service]:
    """See the module."""
    with open_service(settings, Substitutes(schedule_clock=hurried(epoch, speed))) as service:
        yield service


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(service: Service, is_over: Callable[[float], bool]) -> None:
    app = service.region.project_app(service.region.projects.find("local").id)
    made, at_work = 0, False
    while not is_over(_LOOK_S):
        service.wake_scheduler()  # it sleeps by the machine's clock
        running = any(task.state is TaskState.RUNNING for task in app.tasks.list_all())
        if running and not at_work:
            _say("at work")
        at_work = running
        count = sum(each.state is BackupState.AVAILABLE for each in app.backups.list_all())
        if count > made:
            _say(str(count))
            made = count


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Runs it."""
    epoch, speed = datetime.fromisoformat(sys.argv[1]), float(sys.argv[2])
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    with hurried_service(load_settings(None), epoch, speed) as service:
        _say("ready")
        _tell(service, ended.wait)


if __name__ == "__main__":
    main()
