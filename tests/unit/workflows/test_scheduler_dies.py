"""A scheduler that dies anywhere loses no run and makes none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.domain.policy import Policy
from csbs.domain.policy_run import RunState, ServerRunState
from tests.unit.workflows.schedule_lab import HOUR, MINUTE, Crash, ScheduleLab

#: So many transactions has a look at two policies that are due, more or less.
_EDGES_MIN, _EDGES_MAX = 6, 20


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ScheduleLab]:
    made = ScheduleLab(tmp_path)
    yield made
    made.close()


def dies(lab: ScheduleLab, work: Callable[[], object]) -> bool:
    """Whether the process died; then the next one is there."""
    try:
        work()
    except Crash:
        died = True
    else:
        died = False
    lab.catalog.crash_at = lab.runner.crash_at = 0
    if died:
        lab.next_life()
    return died


def require_one_backup_each(lab: ScheduleLab, policies: list[Policy], count: int) -> None:
    """Each server of each policy has one backup for each of so many due times."""
    for policy in policies:
        runs = lab.runs(policy)
        assert len({run.due_at for run in runs}) == len(runs) == count
        for run in runs:
            for server in policy.servers:
                made = [each for each in lab.backups(server.id) if each.checkpoint_id == run.id]
                assert len(made) == 1
                part = lab.parts(run)[server.id]
                assert (part.state, part.backup_id) == (ServerRunState.BEGUN, made[0].id)
    assert len(lab.tasks()) == len(lab.backups()) == 2 * count


@pytest.mark.parametrize("place", ["before its end", "behind it"])
def test_a_death_at_any_transaction_loses_and_doubles_nothing(lab: ScheduleLab, place: str) -> None:
    policies = [lab.policy("s1"), lab.policy("s2")]
    lab.tick()
    lab.catalog.behind = place == "behind it"
    for edge in range(1, _EDGES_MAX):
        lab.now += HOUR
        lab.catalog.crash_at = edge
        died = dies(lab, lab.scheduler.tick)
        lab.tick()
        require_one_backup_each(lab, policies, edge)
        lab.finish()
        lab.tick(MINUTE)
        lab.now -= MINUTE
        assert {run.state for policy in policies for run in lab.runs(policy)} == {RunState.ENDED}
        if not died:
            break
    assert _EDGES_MIN < edge < _EDGES_MAX - 1


def test_a_death_while_tasks_are_handed_over_loses_none(lab: ScheduleLab) -> None:
    policies = [lab.policy("s1"), lab.policy("s2")]
    for hour in (1, 2):
        lab.now += HOUR
        lab.runner.crash_at = hour
        assert dies(lab, lab.scheduler.tick)
        lab.tick()
        require_one_backup_each(lab, policies, hour)
        assert len(lab.runner.held) == 2
        lab.finish()


def test_two_schedulers_make_each_run_once(lab: ScheduleLab) -> None:
    """One after the other, in all orders of their looks; see the test with real processes too."""
    policies = [lab.policy("s1"), lab.policy("s2")]
    first, second = lab.new_scheduler(), lab.new_scheduler()
    for hour, order in enumerate(([first, second], [second, first], [first, first, second]), 1):
        lab.now += HOUR
        for each in order:
            each.tick()
        require_one_backup_each(lab, policies, hour)
        lab.finish()


def test_a_scheduler_whose_clock_is_late_makes_nothing_twice(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    late = lab.new_scheduler()
    late.tick()
    lab.tick(HOUR)
    lab.finish()

    lab.now -= MINUTE
    late.tick()
    # As it starts, the time that the other one has answered is still to come for it.
    lab.new_scheduler().tick()
    lab.now += MINUTE
    late.tick()

    assert len(lab.backups()) == len(lab.runs(policy)) == 1
