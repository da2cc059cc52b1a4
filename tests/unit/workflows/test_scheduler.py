"""Runs of policies: one per due time, queued behind what works, spread, ended by changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from csbs.catalog import events, runs, tasks
from csbs.catalog.policy_tables import schedules
from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.due_run import RunKind
from csbs.domain.events import EventKind
from csbs.domain.ids import CheckpointId
from csbs.domain.policy import Policy
from csbs.domain.policy_run import PolicyRun, RunState, ServerRunState
from csbs.domain.task import TaskKind, TaskState
from csbs.services.requests import CreateBackup
from csbs.services.scheduler import Scheduler
from tests.unit.workflows.schedule_lab import DAILY, HOUR, HOURLY, MINUTE, ScheduleLab

SECOND = timedelta(seconds=1)
_TIMEOUT_S = 30


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ScheduleLab]:
    made = ScheduleLab(tmp_path)
    yield made
    made.close()


def states(lab: ScheduleLab, policy: Policy) -> list[list[str]]:
    """Of each run, oldest first: its servers' states."""
    return [[each.state for each in lab.parts(run).values()] for run in lab.runs(policy)]


def test_a_run_is_made_when_it_is_due_and_not_again(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", "s2", name="nightly")
    lab.tick(59 * MINUTE)
    assert lab.backups() == []

    for _ in range(3):
        lab.tick(MINUTE)

    [run] = lab.runs(policy)
    first, second = lab.backups()
    assert {first.server_id, second.server_id} == {"s1", "s2"}
    for backup in (first, second):
        assert backup.name.startswith("autobk_")
        assert len(backup.name) == len("autobk_") + 8
        assert (backup.auto_trigger, backup.policy_id) == (True, policy.id)
        assert (backup.checkpoint_id, backup.state) == (run.id, BackupState.PROTECTING)
    assert {task.backup_id for task in lab.runner.held.values()} == {first.id, second.id}
    task = lab.tasks()[0]
    assert (task.kind, task.state) == (TaskKind.BACKUP, TaskState.WAITING)
    assert task.note == "policy nightly: due at 2026-01-01 13:00 UTC"
    assert first.server_name in {"web1", "web2"}


def test_a_run_has_ended_when_its_backups_have(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", "s2")
    lab.tick(HOUR)
    assert lab.runs(policy)[0].state is RunState.DISPATCHED

    lab.finish()
    lab.tick(MINUTE)

    [run] = lab.runs(policy)
    assert (run.state, run.ended_at) == (RunState.ENDED, lab.now)


def test_it_sleeps_until_something_is_due(lab: ScheduleLab) -> None:
    assert lab.tick() == 30
    lab.policy("s1")
    assert lab.tick(59 * MINUTE + 50 * SECOND) == 10
    assert lab.tick(10 * SECOND) == 30


def test_who_changes_a_policy_wakes_it(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    lab.change(policy, enabled=False)
    assert lab.woken == 2

    ticked = threading.Semaphore(0)

    class Ticking(Scheduler):
        def tick(self) -> float:
            ticked.release()
            return 1000

    scheduler = Ticking(lab.new_scheduler()._due_runs, lab.clock)
    scheduler.start()
    assert ticked.acquire(timeout=_TIMEOUT_S)
    scheduler.wake()
    assert ticked.acquire(timeout=_TIMEOUT_S)
    scheduler.stop()


def test_one_run_makes_up_for_all_that_was_missed(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", pattern=DAILY)
    lab.now += timedelta(days=5, hours=3)
    lab.next_life()
    lab.tick()
    lab.tick(MINUTE)

    [backup] = lab.backups()
    assert "catches up with 5 runs missed since 2026-01-02 12:00 UTC" in lab.tasks()[0].note
    lab.finish()
    lab.tick(21 * HOUR - MINUTE)
    assert len(lab.backups()) == 2
    assert backup.created_at.hour == 15
    assert [run.due_at.day for run in lab.runs(policy)] == [6, 7]


def test_nothing_is_made_up_for_when_the_next_run_is_near(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    lab.tick(HOUR)
    lab.finish()
    lab.now += 3 * HOUR + 20 * MINUTE
    lab.next_life()
    lab.tick()

    assert len(lab.backups()) == 1
    skipped = lab.runs(policy)[-1]
    assert skipped.state is RunState.SKIPPED
    assert "3 runs missed since 2026-01-01 14:00 UTC: the next run" in skipped.note
    lab.tick(40 * MINUTE)
    assert len(lab.backups()) == 2


def test_a_clock_that_jumps_forward_makes_no_pile(lab: ScheduleLab) -> None:
    lab.policy("s1")
    lab.tick(48 * HOUR + MINUTE)
    lab.finish()
    lab.tick(MINUTE)

    assert len(lab.backups()) == 1
    assert "47 runs missed" in lab.tasks()[0].note


def test_a_clock_that_is_set_back_repeats_nothing_and_stops_nothing(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    lab.tick(HOUR)
    lab.finish()
    # By mistake a year ahead, for a moment.
    lab.tick(timedelta(days=365))
    lab.finish()
    assert len(lab.backups()) == 2

    lab.now -= timedelta(days=365, minutes=30)
    lab.tick()
    # 13:00 comes a second time.
    assert lab.next_run_at(policy) == lab.now + 90 * MINUTE
    lab.tick(30 * MINUTE)
    assert len(lab.backups()) == 2
    lab.tick(HOUR)
    assert len(lab.backups()) == 3


def test_a_clock_that_is_set_back_while_nothing_runs_is_noticed_at_the_start(
    lab: ScheduleLab,
) -> None:
    policy = lab.policy("s1")
    lab.tick(timedelta(days=365))
    lab.finish()
    lab.now -= timedelta(days=365)
    lab.next_life()
    lab.tick()

    assert lab.next_run_at(policy) == lab.now + HOUR


def go_on(_lab: ScheduleLab) -> None:
    """The service notices it."""


def start_again(lab: ScheduleLab) -> None:
    lab.scheduler = lab.new_scheduler()


@pytest.mark.parametrize("meanwhile", [go_on, start_again])
def test_what_waits_since_a_clock_was_ahead_begins_when_it_is_set_back(
    lab: ScheduleLab, meanwhile: Callable[[ScheduleLab], None]
) -> None:
    """Else each later run of the server would be merged into one that begins in a year."""
    policy = lab.policy("s1")
    lab.policies.backups.submit(CreateBackup(server="s1"))
    lab.tick(timedelta(days=365))
    lab.now -= timedelta(days=365)
    meanwhile(lab)
    lab.tick()
    lab.finish()
    lab.tick(3 * SECOND)
    assert len(lab.backups()) == 2

    lab.finish()
    lab.tick(HOUR)

    assert len(lab.backups()) == 3
    assert states(lab, policy) == [["begun"], ["begun"]]


def test_servers_that_are_spread_when_a_clock_was_ahead_begin_when_it_is_set_back(
    tmp_path: Path,
) -> None:
    lab = ScheduleLab(tmp_path, schedule_jitter_s=1200)
    lab.policy("s1", "s2")
    lab.tick(timedelta(days=365))
    assert lab.backups() == []

    lab.now -= timedelta(days=365)
    lab.tick()

    assert len(lab.backups()) == 2
    lab.close()


def test_a_run_waits_for_what_works_on_its_server_and_one_waits_at_most(
    lab: ScheduleLab,
) -> None:
    policy = lab.policy("s1", "s2")
    lab.tick(HOUR)
    slow = next(task for task in lab.runner.held.values() if task.server_id == "s1")
    for task in list(lab.runner.held.values()):
        if task is not slow:
            lab.finish_one(task)
    lab.tick(HOUR)
    assert lab.tick(MINUTE) == 3
    lab.tick(59 * MINUTE)
    assert len(lab.backups("s1")) == 1
    assert [lab.parts(run)["s1"].state for run in lab.runs(policy)] == [
        ServerRunState.BEGUN,
        ServerRunState.WAITING,
        ServerRunState.MERGED,
    ]

    lab.finish()
    lab.tick(MINUTE)

    assert len(lab.backups("s1")) == 2
    assert lab.backups("s1")[-1].checkpoint_id == lab.runs(policy)[1].id
    lab.finish()
    lab.tick(MINUTE)
    lab.tick(MINUTE)
    assert len(lab.backups("s1")) == 2
    assert [run.state for run in lab.runs(policy)] == [RunState.ENDED] * 3


def test_a_run_waits_for_a_backup_by_hand_too(lab: ScheduleLab) -> None:
    lab.policy("s1")
    by_hand = lab.policies.backups.submit(CreateBackup(server="s1"))
    lab.tick(HOUR)
    assert [each.id for each in lab.backups()] == [by_hand.id]

    lab.finish()
    lab.tick(3 * SECOND)

    assert len(lab.backups()) == 2


def test_servers_are_spread_over_the_window(tmp_path: Path) -> None:
    lab = ScheduleLab(tmp_path, schedule_jitter_s=1200)
    policy = lab.policy("s1", "s2")
    lab.tick(HOUR)
    places = sorted(part.begins_at for part in lab.parts(lab.runs(policy)[0]).values())

    assert lab.backups() == []
    assert lab.now < places[0] < places[1] < lab.now + 20 * MINUTE
    lab.now = places[0]
    lab.tick()
    assert len(lab.backups()) == 1
    lab.now = places[1]
    lab.tick()
    assert len(lab.backups()) == 2
    lab.close()


def test_a_server_beyond_the_quota_fails_and_the_others_go_on(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", "s2")
    lab.quotas.change({"backups": 1})
    lab.tick(HOUR)

    good, bad = sorted(lab.backups(), key=lambda each: each.state, reverse=True)
    assert (good.state, bad.state) == (BackupState.PROTECTING, BackupState.ERROR)
    assert (bad.fail_op, bad.fail_code) == (FailedOperation.BACKUP, "QuotaExceeded")
    assert bad.auto_trigger
    failed = next(task for task in lab.tasks() if task.backup_id == bad.id)
    assert (failed.state, failed.error_code) == (TaskState.ERROR, "QuotaExceeded")
    assert states(lab, policy) in ([["begun", "failed"]], [["failed", "begun"]])
    with lab.catalog.transaction() as transaction:
        [event] = events.page(transaction, lab.project_id, limit=9)
    assert (event.kind, event.facts["task_id"]) == (EventKind.TASK_FAILED, failed.id)


def test_a_policy_that_cannot_be_read_stops_no_other(lab: ScheduleLab) -> None:
    bad = lab.policy("s1", pattern=HOURLY)
    lab.policy("s2")
    with lab.catalog.transaction() as transaction:
        spoiled = schedules.c.policy_id == bad.id
        transaction.execute(update(schedules).where(spoiled).values(pattern="RRULE:FREQ=NEVER"))

    wait_s = lab.tick(HOUR)

    assert [each.server_id for each in lab.backups()] == ["s2"]
    assert wait_s == 30
    with lab.catalog.transaction() as transaction:
        transaction.execute(update(schedules).where(spoiled).values(pattern=HOURLY))
    lab.tick(MINUTE + SECOND)
    assert len(lab.backups("s1")) == 1


def test_a_policy_that_is_off_does_not_run(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", enabled=False)
    lab.tick(2 * HOUR)
    assert (lab.backups(), lab.next_run_at(policy)) == ([], None)

    lab.change(policy, enabled=True)
    # What was due while it was off is not made up for.
    assert lab.next_run_at(policy) == lab.now + HOUR
    lab.tick()
    assert lab.backups() == []
    lab.tick(HOUR)
    assert len(lab.backups()) == 1


def test_a_change_of_its_times_takes_effect_at_once(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    lab.change(policy, pattern="RRULE:FREQ=DAILY;BYHOUR=12;BYMINUTE=5")
    assert lab.next_run_at(policy) == lab.now + 5 * MINUTE
    lab.tick(5 * MINUTE)
    assert len(lab.backups()) == 1
    lab.change(policy, pattern=HOURLY)
    assert lab.next_run_at(policy) == lab.now + 55 * MINUTE


def test_another_change_loses_no_run_that_is_due(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", pattern=DAILY)
    lab.now += 26 * HOUR
    lab.change(policy, description="changed before the scheduler came to it")
    lab.tick()

    assert len(lab.backups()) == 1


def test_times_are_those_of_the_policys_zone(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", pattern=DAILY, retention={"timezone": "Asia/Shanghai"})

    assert lab.next_run_at(policy) == lab.now + 16 * HOUR


def test_a_zone_of_the_region_that_is_changed_counts_from_the_next_start(
    tmp_path: Path,
) -> None:
    lab = ScheduleLab(tmp_path)
    policy = lab.policy("s1", pattern=DAILY)
    assert lab.next_run_at(policy) == lab.now + 24 * HOUR
    lab.settings = lab.settings.model_copy(update={"timezone": "UTC+08:00"})
    lab.next_life()
    lab.tick()

    assert lab.next_run_at(policy) == lab.now + 16 * HOUR
    lab.close()


def queued(lab: ScheduleLab) -> Policy:
    """A policy with s1 and s2 whose second run waits for both."""
    policy = lab.policy("s1", "s2")
    lab.tick(HOUR)
    lab.tick(HOUR)
    assert states(lab, policy)[1] == ["waiting", "waiting"]
    return policy


def test_who_leaves_a_policy_is_not_backed_up_by_it_any_more(lab: ScheduleLab) -> None:
    policy = queued(lab)
    for task in list(lab.runner.held.values()):
        with lab.catalog.transaction() as transaction:
            tasks.begin(transaction, lab.project_id, task.id, at=lab.now)

    lab.policies.unbind(policy.id, [lab.bound("s1").id])

    assert {key: part.state for key, part in lab.parts(lab.runs(policy)[1]).items()} == {
        "s1": ServerRunState.DROPPED,
        "s2": ServerRunState.WAITING,
    }
    # What works goes on.
    assert [each.state for each in lab.backups("s1")] == [BackupState.PROTECTING]
    lab.finish()
    lab.tick(HOUR)
    assert [each.state for each in lab.backups("s1")] == [BackupState.AVAILABLE]
    assert len(lab.backups("s2")) == 2


def test_a_backup_that_has_not_begun_is_ended_with_its_binding(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", "s2")
    lab.tick(HOUR)

    lab.policies.unbind(policy.id, [lab.bound("s1").id])

    assert lab.backups("s1") == []
    assert len(lab.backups("s2")) == 1
    assert [task.state for task in lab.tasks() if task.server_id == "s1"] == [TaskState.CANCELLED]


@pytest.mark.parametrize("way", ["off", "deleted"])
def test_what_waits_ends_with_the_policy(lab: ScheduleLab, way: str) -> None:
    policy = queued(lab)
    lab.finish()
    if way == "off":
        lab.change(policy, enabled=False)
    else:
        lab.policies.delete(policy.id)
    lab.tick(MINUTE)
    lab.tick(HOUR)

    # Its backups stay.
    assert [each.state for each in lab.backups()] == [BackupState.AVAILABLE] * 2


def test_what_is_long_over_is_forgotten(lab: ScheduleLab) -> None:
    policy = lab.policy("s1", "s2")
    for number in range(1003):
        run = PolicyRun(
            id=CheckpointId(f"r{number}"),
            project_id=lab.project_id,
            policy_id=policy.id,
            schedule_id=policy.schedules[0].id,
            due_at=lab.now - 5000 * HOUR + number * HOUR,
            kind=RunKind.ON_TIME,
            note="",
            state=RunState.ENDED,
            claimed_at=lab.now,
        )
        with lab.catalog.transaction() as transaction:
            runs.claim(transaction, run, [])
    lab.tick(HOUR)

    assert len(lab.runs(policy)) == 1000
    assert lab.runs(policy)[0].id == "r4"


def test_servers_are_known_of_the_newest_runs_alone(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    for _ in range(53):
        lab.tick(HOUR)
        lab.finish()

    assert [len(lab.parts(run)) for run in lab.runs(policy)] == [0] * 3 + [1] * 50
