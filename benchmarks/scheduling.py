"""10,000 servers of hourly policies, all due in one minute, on PostgreSQL with fake compute.

python -m benchmarks.scheduling [SERVERS]      measures once; prints its numbers as JSON

Each measurement is a process of its own, with a PostgreSQL of its own that syncs what it commits.
Real are the catalog, the scheduler and the durable runner; the backup is a workflow of one step
that does nothing.  `entered_s`: from the due time until the last server's backup and task are
entered.  `begun_s`: until the last one's workflow has begun its first step.  `idle_share`: of one
processor, what the scheduler needs while nothing is due.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import func, insert, select

from benchmarks.arithmetic import Sample
from benchmarks.running import run_measured
from benchmarks.settings import Settings
from csbs.catalog import Catalog, Transaction, tasks
from csbs.catalog.policy_tables import policies, policy_servers, schedules
from csbs.catalog.tables import projects, servers
from csbs.catalog.tables import tasks as tasks_table
from csbs.domain.clock import monotonic, new_id, utc_now
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.policy import Retention
from csbs.domain.quota import POLICIES_MAX_DEFAULT, SERVERS_PER_POLICY_MAX
from csbs.domain.task import Task
from csbs.services.due_runs import DueRuns
from csbs.services.scheduler import Scheduler
from csbs.testing.postgres import postgres_running
from csbs.workflows.bounded_runner import BoundedRunner
from csbs.workflows.dbos_runner import DbosRunner
from csbs.workflows.run import LocalRun, Watcher
from csbs.workflows.runner import Control, Execute, Runner

SERVERS = 10_000
_TASKS_AT_ONCE = 64
_IDLE_S = 60.0
#: Far more than the goal: what has not begun then never will.
_WAIT_MAX_S = 900.0
_HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))


def measure_scheduling(
    settings: Settings, *, keep: Callable[[str, Sample], None], count: int = SERVERS
) -> None:
    """Measures as often as there are rounds."""
    for _ in range(settings.rounds):
        command = [sys.executable, "-m", "benchmarks.scheduling", str(count)]
        found = json.loads(run_measured(command, durable=settings.folder).output)
        keep("schedule", Sample(seconds=found["entered_s"], cpu_seconds=found["entered_cpu_s"]))
        keep("schedule_begun", Sample(seconds=found["begun_s"], cpu_seconds=found["begun_cpu_s"]))
        keep("schedule_idle", Sample(seconds=_IDLE_S, cpu_seconds=found["idle_share"] * _IDLE_S))


class _Clock:
    """The machine's, shifted."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.shift

    def show(self, at: datetime) -> None:
        """It shows this from now on."""
        self.shift = at - utc_now()


class _Begun:
    """A workflow that does nothing, and when each of them has begun its first step."""

    def __init__(self, catalog: Catalog, count: int) -> None:
        self._catalog = catalog
        self._left = count
        self._lock = threading.Lock()
        self.last_at = 0.0
        self.all = threading.Event()

    def execute(self, project_id: ProjectId, task_id: TaskId, control: Control) -> None:
        """See `Execute`."""
        with self._catalog.transaction() as transaction:
            task = tasks.begin(transaction, project_id, task_id, at=utc_now())
        assert task is not None, "it waits"
        watcher = Watcher(on_progress=lambda _: None, cancel=control.cancel)
        run = LocalRun(task, catalog=self._catalog, clock=utc_now, watcher=watcher)
        with run.recorded():
            run.step("begin", self._note)

    def _note(self) -> None:
        with self._lock:
            self.last_at = monotonic()
            self._left -= 1
            if self._left == 0:
                self.all.set()


class _Noting:
    """Passes tasks on, and keeps when the first one came: all are entered then."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self.entered = threading.Event()
        self.entered_at = 0.0
        self.entered_cpu_s = 0.0

    def start(self, task: Task) -> None:
        """See `TaskRunner.start`."""
        if not self.entered.is_set():
            self.entered_at, self.entered_cpu_s = monotonic(), time.process_time()
            self.entered.set()
        self._inner.start(task)

    def cancel(self, task: Task) -> None:
        """See `TaskRunner.cancel`."""
        self._inner.cancel(task)


def _measure(count: int) -> dict[str, float]:
    with postgres_running(durable=True) as server:
        url = server.new_database()
        catalog = Catalog.open(url)
        catalog.home(clock=utc_now, new_id=new_id)
        due_at = utc_now().replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
        with catalog.transaction() as transaction:
            fill(transaction, count, due_at)
        found = _run(catalog, url, count, due_at)
        catalog.close()
    return found


def _run(catalog: Catalog, url: str, count: int, due_at: datetime) -> dict[str, float]:
    clock, begun = _Clock(), _Begun(catalog, count)
    clock.show(due_at - timedelta(minutes=50))
    runner = BoundedRunner(begun.execute, partial(_durable, url), handed_max=_TASKS_AT_ONCE)
    noting = _Noting(runner)
    due_runs = DueRuns(catalog=catalog, new_id=new_id, runner=noting, region_zone="UTC", window_s=0)
    scheduler = Scheduler(due_runs, clock)
    scheduler.tick()
    idle_from = time.process_time()
    scheduler.start()
    threading.Event().wait(_IDLE_S)
    idle_cpu_s = time.process_time() - idle_from
    runner.launch()
    clock.show(due_at)
    began, cpu_from = monotonic(), time.process_time()
    scheduler.wake()
    assert noting.entered.wait(_WAIT_MAX_S), "not all were entered"
    with catalog.transaction() as transaction:
        entered = transaction.scalar(select(func.count()).select_from(tasks_table))
    assert entered == count, "all were entered before the first was handed over"
    assert begun.all.wait(_WAIT_MAX_S), "not all have begun"
    cpu_s = time.process_time() - cpu_from
    scheduler.stop()
    runner.stop(timeout_s=60)
    return {
        "servers": count,
        "entered_s": noting.entered_at - began,
        "entered_cpu_s": noting.entered_cpu_s - cpu_from,
        "begun_s": begun.last_at - began,
        "begun_cpu_s": cpu_s,
        "idle_share": idle_cpu_s / _IDLE_S,
    }


def _durable(url: str, execute: Execute) -> Runner:
    return DbosRunner(execute, tasks_max=_TASKS_AT_ONCE, database_url=url, new_id=new_id)


def fill(transaction: Transaction, count: int, due_at: datetime) -> None:
    """As many policies as so many servers need, and as many projects as the policies need."""
    for number, first in enumerate(range(0, count, SERVERS_PER_POLICY_MAX)):
        project_id = f"{number // POLICIES_MAX_DEFAULT:032x}"
        if number % POLICIES_MAX_DEFAULT == 0:
            name = f"local_{number // POLICIES_MAX_DEFAULT}"
            transaction.execute(insert(projects).values(id=project_id, name=name))
        last = min(first + SERVERS_PER_POLICY_MAX, count)
        ids = [f"{each:08x}-0000-4000-8000-000000000000" for each in range(first, last)]
        transaction.execute(
            insert(servers), [{"id": each, "project_id": project_id, "name": each} for each in ids]
        )
        policy_id = f"p{number}"
        _add_policy(transaction, project_id, policy_id, due_at)
        transaction.execute(
            insert(policy_servers),
            [
                {"server_id": each, "policy_id": policy_id, "position": position}
                | {"kind": "k", "name": each, "exclude_disks": [], "extra": {}}
                for position, each in enumerate(ids)
            ],
        )


def _add_policy(
    transaction: Transaction, project_id: str, policy_id: str, due_at: datetime
) -> None:
    made_at = due_at - timedelta(days=3)
    transaction.execute(
        insert(policies).values(
            id=policy_id,
            project_id=project_id,
            name=policy_id,
            description="",
            parameters={},
            application=0,
            created_at=made_at,
            updated_at=made_at,
        )
    )
    transaction.execute(
        insert(schedules).values(
            id=f"o-{policy_id}",
            policy_id=policy_id,
            position=0,
            name="",
            description="",
            enabled=True,
            trigger_id="t",
            trigger_name="default",
            pattern=_HOURLY,
            starts_at=made_at,
            next_run_at=due_at,
            retention=asdict(Retention(permanent=True)),
        )
    )


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS)), flush=True)
    # A thread that records the end of the last workflow would wait for its database for ever.
    os._exit(0)
