"""A service runs policies by itself, binds new servers, and goes on after its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from csbs.config import Settings
from csbs.domain.backup import Backup, BackupState
from csbs.domain.clock import utc_now
from csbs.domain.policy import NewPolicy, NewSchedule, PolicyChange
from csbs.service import Service, Substitutes, open_service
from csbs.services.project_app import App
from csbs.testing.fake_driver import FakeDriver
from csbs.testing.faults import Faults
from csbs.testing.live_api import FastHasher
from csbs.workflows.thread_runner import ThreadRunner

MIB = 1024**2
_LOOKS_MAX = 3000
_HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))


@dataclass
class ShiftedClock:
    """The machine's, shifted."""

    shift: timedelta = field(default_factory=timedelta)

    def show(self, at: datetime | None) -> None:
        """It shows this from now on."""
        assert at is not None
        self.shift = at - utc_now()

    def __call__(self) -> datetime:
        return utc_now() + self.shift


def app_of(service: Service) -> App:
    return service.region.project_app(service.region.projects.find("local").id)


def wait_until(holds: Callable[[], bool]) -> None:
    never = threading.Event()
    for _ in range(_LOOKS_MAX):
        if holds():
            return
        never.wait(0.01)
    raise AssertionError


def made(service: Service) -> list[Backup]:
    found = app_of(service).backups.list_all()
    return [each for each in found if each.state is BackupState.AVAILABLE]


def test_a_service_runs_policies(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "data", "run_dir": tmp_path / "run", "scratch_dir": tmp_path / "s"}
    )
    driver = FakeDriver(tmp_path / "host", new_id=lambda: str(uuid4()), faults=Faults())
    driver.add_server("web", {"vda": MIB})
    clock = ShiftedClock()
    substitutes = Substitutes(
        driver=driver,
        hasher=FastHasher(),
        make_runner=lambda execute: ThreadRunner(execute, tasks_max=2),
        schedule_clock=clock,
    )
    with open_service(settings, substitutes) as service:
        new = NewPolicy(name="all", schedules=[NewSchedule(pattern=_HOURLY)], auto_bind=[])
        policy = app_of(service).protection.policies.create(new)

    with open_service(settings, substitutes) as service:
        policies = app_of(service).protection.policies
        # It looks for new servers at its start, and then once a minute.
        wait_until(lambda: policies.get(policy.id).servers != ())
        clock.show(policy.schedules[0].next_run_at)
        # Whoever changes a policy wakes the scheduler.
        policies.change(policy.id, PolicyChange(description="now"))
        wait_until(lambda: len(made(service)) == 1)
        [backup] = made(service)
        assert (backup.server_name, backup.auto_trigger) == ("web", True)
        assert backup.name.startswith("autobk_")
        next_run_at = policies.get(policy.id).schedules[0].next_run_at

    clock.show(next_run_at)
    with open_service(settings, substitutes) as service:
        wait_until(lambda: len(made(service)) == 2)
        # And at what is promised of them.
        wait_until(
            lambda: [each.policy_id for each in app_of(service).rpo.list_all()] == [policy.id]
        )
    driver.close()
