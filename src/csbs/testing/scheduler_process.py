"""A scheduler over a catalog in PostgreSQL, in a process that kills itself some time.

    python -m csbs.testing.scheduler_process URL EPOCH LIFE_S

By its clock an hour passes in a second, from EPOCH (ISO 8601) on.  After LIFE_S seconds of work it
kills itself, wherever it is; 0: it works until its standard input ends.  Backups take no time:
every open task is ended at the next look.  It says `ready`, and each hour once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from csbs.catalog import Catalog, backups, projects, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.domain.backup import BackupState
from csbs.domain.clock import new_id, utc_now
from csbs.domain.ids import ProjectId
from csbs.domain.task import Task, TaskState
from csbs.services.due_runs import DueRuns
from csbs.services.scheduler import Scheduler
from csbs.testing.dying import die

SPEED = 3600
_LOOK_S = 0.02


class _Nobody:
    """See `TaskRunner`: open tasks are found in the catalog."""

    def start(self, task: Task) -> None:
        """See `TaskRunner.start`."""

    def cancel(self, task: Task) -> None:
        """See `TaskRunner.cancel`."""


def fast_clock(epoch: datetime) -> Callable[[], datetime]:
    """An hour passes in a second, the same for all processes with this epoch."""
    return lambda: epoch + (utc_now() - epoch) * SPEED


def _end_open(catalog: Catalog, project_id: ProjectId, now: datetime) -> None:
    with catalog.transaction() as transaction:
        for task in tasks.open_of_project(transaction, project_id):
            outcome = TaskOutcome(state=TaskState.DONE, ended_at=now)
            tasks.end(transaction, project_id, task.id, outcome)
            backup = backups.get(transaction, project_id, task.backup_id)
            backups.save(transaction, replace(backup, state=BackupState.AVAILABLE))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Works until it dies, or its input ends."""
    url, epoch, life_s = sys.argv[1:]
    clock = fast_clock(datetime.fromisoformat(epoch))
    catalog = Catalog.open(url)
    with catalog.transaction() as transaction:
        [project] = projects.all_of_region(transaction)
    due_runs = DueRuns(
        catalog=catalog, new_id=new_id, runner=_Nobody(), region_zone="UTC", window_s=0
    )
    scheduler = Scheduler(due_runs, clock)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    _say("ready")
    if float(life_s):
        threading.Timer(float(life_s), die).start()
    hour = None
    while not ended.wait(_LOOK_S):
        scheduler.tick()
        _end_open(catalog, project.id, clock())
        if clock().replace(minute=0, second=0, microsecond=0) != hour:
            hour = clock().replace(minute=0, second=0, microsecond=0)
            _say(hour.isoformat())
    scheduler.tick()
    _end_open(catalog, project.id, clock())
    due_runs.advance(clock())


if __name__ == "__main__":
    main()
