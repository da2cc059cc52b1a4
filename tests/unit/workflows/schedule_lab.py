"""Policies and their scheduler over servers that only can be looked at, by the test's clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from csbs.app import host_of, wired
from csbs.background import scheduler_of
from csbs.catalog import Catalog, Transaction, backups, runs, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.compute.base import ComputeDriver
from csbs.config import Settings
from csbs.domain.backup import Backup, BackupState
from csbs.domain.ids import ServerId
from csbs.domain.policy import BoundServer, NewPolicy, NewSchedule, Policy, PolicyChange
from csbs.domain.policy_run import PolicyRun, ServerRun
from csbs.domain.task import Task, TaskState
from csbs.services.scheduler import Scheduler
from csbs.testing.still_driver import StillDriver

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))
DAILY = "RRULE:FREQ=DAILY;BYHOUR=12;BYMINUTE=0"


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a kill -9."""


class HeldRunner:
    """See `TaskRunner`; holds tasks until the test says how they end."""

    def __init__(self) -> None:
        self.held: dict[str, Task] = {}
        #: Dies at the n-th task.
        self.crash_at = 0

    def start(self, task: Task) -> None:
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Crash
        self.held.setdefault(task.id, task)

    def cancel(self, task: Task) -> None:
        """Nothing is at work."""


class MortalCatalog(Catalog):
    """A catalog in whose n-th transaction its process dies: before its end, or just behind it."""

    crash_at = 0
    behind = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self.crash_at -= 1
        crashes = self.crash_at == 0
        with super().transaction() as transaction:
            yield transaction
            if crashes and not self.behind:
                raise Crash
        if crashes:
            raise Crash


class ScheduleLab:
    """Servers `s1` and `s2`, and the services; it is noon."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
        chosen = Settings.model_validate(
            {"data_dir": folder, "run_dir": folder / "run", "scratch_dir": folder / "scratch"}
            | settings
        )
        self.settings = chosen
        made = Catalog.open(folder / "catalog.sqlite")
        self.catalog = MortalCatalog(made._engine, name="the test's catalog")
        home = self.catalog.home(clock=self.clock, new_id=lambda: str(uuid4()))
        self.project_id = home.project_id
        self.driver, self.runner = StillDriver(), HeldRunner()
        self.woken = 0
        host = replace(
            host_of(chosen, cast("ComputeDriver", self.driver), self.runner),
            policies_changed=self._wake,
        )
        app = wired(chosen, self.catalog, home, host)
        self.quotas = app.protection.quotas
        self.policies = replace(app.protection.policies, clock=self.clock)
        self.binding = replace(app.protection.binding, clock=self.clock)
        for number in (1, 2):
            self.driver.add_server(f"s{number}", f"web{number}")
        self.scheduler = self.new_scheduler()

    def clock(self) -> datetime:
        return self.now

    def _wake(self) -> None:
        self.woken += 1

    def new_scheduler(self) -> Scheduler:
        """As another process, or the next life, has one."""
        return scheduler_of(self.settings, self.catalog, self.runner, self.clock)

    def close(self) -> None:
        self.catalog.close()

    def policy(self, *server_ids: str, pattern: str = HOURLY, **values: Any) -> Policy:
        """A policy with these servers."""
        return self.policies.create(
            NewPolicy(
                name=values.pop("name", f"p{uuid4().hex[:8]}"),
                servers=[self.bound(each) for each in server_ids],
                schedules=[
                    NewSchedule(
                        pattern=pattern,
                        enabled=values.pop("enabled", None),
                        retention=values.pop("retention", {}),
                    )
                ],
                **values,
            )
        )

    def bound(self, server_id: str) -> BoundServer:
        return BoundServer(id=ServerId(server_id), kind="OS::Nova::Server", name="")

    def change(self, policy: Policy, **values: Any) -> Policy:
        """Changes a policy; `pattern`, `enabled` are those of its schedule."""
        said = {name: values.pop(name) for name in ("pattern", "enabled") if name in values}
        schedules = [NewSchedule(**said)] if said else None
        return self.policies.change(policy.id, PolicyChange(schedules=schedules, **values))

    def tick(self, later: timedelta = timedelta()) -> float:
        self.now += later
        return self.scheduler.tick()

    def finish(self) -> None:
        """All tasks that the runner holds end well."""
        while self.runner.held:
            self.finish_one(self.runner.held.popitem()[1])

    def finish_one(self, task: Task) -> None:
        with self.catalog.transaction() as transaction:
            if tasks.get(transaction, self.project_id, task.id).is_open:
                outcome = TaskOutcome(state=TaskState.DONE, ended_at=self.now)
                tasks.end(transaction, self.project_id, task.id, outcome)
                backup = backups.get(transaction, self.project_id, task.backup_id)
                backups.save(transaction, replace(backup, state=BackupState.AVAILABLE))

    def next_life(self) -> None:
        """The service starts again: a new scheduler, and a runner that is given what is open."""
        self.scheduler = self.new_scheduler()
        with self.catalog.transaction() as transaction:
            for task in tasks.open_of_project(transaction, self.project_id):
                self.runner.start(task)

    def backups(self, server_id: str | None = None) -> list[Backup]:
        with self.catalog.transaction() as transaction:
            found = backups.of_project(transaction, self.project_id)
        return [each for each in found if server_id in {None, each.server_id}]

    def tasks(self) -> list[Task]:
        with self.catalog.transaction() as transaction:
            return tasks.of_project(transaction, self.project_id)

    def runs(self, policy: Policy) -> list[PolicyRun]:
        """Oldest first."""
        with self.catalog.transaction() as transaction:
            found = runs.of_policy(transaction, self.project_id, policy.id, limit=2000)
        return found[::-1]

    def parts(self, run: PolicyRun) -> dict[str, ServerRun]:
        with self.catalog.transaction() as transaction:
            found = runs.parts(transaction, self.project_id, run.id)
        return {each.server_id: each for each in found}

    def next_run_at(self, policy: Policy) -> datetime | None:
        return self.policies.get(policy.id).schedules[0].next_run_at
