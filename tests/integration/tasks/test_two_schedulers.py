"""Two schedulers on one PostgreSQL, in processes that are killed again and again."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import uuid4

from csbs.catalog import Catalog, backups, policies, runs, servers, tasks
from csbs.domain.clock import utc_now
from csbs.domain.due_run import RunKind
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import BoundServer, Policy
from csbs.domain.policy_run import PolicyRun, RunState, ServerRunState
from csbs.testing.policy_catalog_contract import SCHEDULE, make_policy
from csbs.testing.postgres import Postgres

_DEATHS = 8
_POLICIES, _SERVERS = 3, 4
_TIMEOUT_S = 60
_HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))


class Process:
    """See `csbs.testing.scheduler_process`."""

    def __init__(self, url: str, epoch: datetime, life_s: float) -> None:
        arguments = [url, epoch.isoformat(), f"{life_s:.3f}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "csbs.testing.scheduler_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, count: int) -> None:
        """Until it has said so many lines."""
        assert self._process.stdout is not None
        for _ in range(count):
            assert self._process.stdout.readline()

    def wait_for_death(self) -> None:
        # Its input stays open: it must not end by itself.
        assert self._process.wait(_TIMEOUT_S) == -9
        self._process.communicate()

    def stop(self) -> None:
        self._process.communicate(timeout=_TIMEOUT_S)
        assert self._process.returncode == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_TIMEOUT_S)


@contextmanager
def filled(url: str) -> Iterator[tuple[Catalog, ProjectId]]:
    """The catalog with hourly policies that are due at the next full hour."""
    catalog = Catalog.open(url)
    project_id = catalog.home(clock=utc_now, new_id=lambda: str(uuid4())).project_id
    with catalog.transaction() as transaction:
        for number in range(_POLICIES):
            ids = [ServerId(f"s{number}-{each}") for each in range(_SERVERS)]
            for each in ids:
                servers.remember_server(transaction, project_id, each, each)
            bound = tuple(BoundServer(id=each, kind="k", name=each) for each in ids)
            schedule = replace(SCHEDULE, id=f"o{number}", pattern=_HOURLY, enabled=True)
            made = make_policy(project_id, f"p{number}", servers=bound, schedules=(schedule,))
            policies.add(transaction, made)
    try:
        yield catalog, project_id
    finally:
        catalog.close()


def test_no_run_is_lost_and_none_comes_twice(postgres: Postgres) -> None:
    url = postgres.new_database()
    lives = random.Random(13)
    with filled(url) as (catalog, project_id):
        epoch = utc_now().replace(microsecond=0)
        pair = [Process(url, epoch, lives.uniform(0.1, 2.5)) for _ in range(2)]
        try:
            for number in range(_DEATHS):
                pair[number % 2].wait_for_death()
                pair[number % 2] = Process(url, epoch, lives.uniform(0.1, 2.5))
            for each in pair:
                each.wait_for_death()
            pair = [Process(url, epoch, 0)]
            pair[0].read(1 + 3)
            pair[0].stop()
        finally:
            for each in pair:
                each.kill()
        require_all(catalog, project_id)


def require_all(catalog: Catalog, project_id: ProjectId) -> None:
    with catalog.transaction() as transaction:
        made = backups.of_project(transaction, project_id)
        entered = tasks.of_project(transaction, project_id)
    assert Counter(task.backup_id for task in entered) == Counter(each.id for each in made)
    backups_of = Counter((each.checkpoint_id, each.server_id) for each in made)
    assert set(backups_of.values()) == {1}
    begun = 0
    for number in range(_POLICIES):
        with catalog.transaction() as transaction:
            policy = policies.get(transaction, project_id, PolicyId(f"p{number}"))
            newest_first = runs.of_policy(transaction, project_id, policy.id, limit=5000)
        begun += require_each_due_time(catalog, policy, newest_first[::-1])
    assert begun == len(made)


def require_each_due_time(catalog: Catalog, policy: Policy, found: list[PolicyRun]) -> int:
    """Each hour was answered, alone or with those that its note counts; returns what has begun."""
    # However slow the machine is: what it was too slow for is made up for, and counted.
    assert sum(1 + _missed(run) for run in found) > 10
    begun = 0
    for former, run in pairwise(found):
        assert (run.due_at - former.due_at) // timedelta(hours=1) == 1 + _missed(run)
    for run in found:
        with catalog.transaction() as transaction:
            states = [each.state for each in runs.parts(transaction, policy.project_id, run.id)]
        if run.state is RunState.SKIPPED:
            assert states == []
            continue
        assert run.state is RunState.ENDED
        assert set(states) == {ServerRunState.BEGUN}
        assert len(states) == _SERVERS
        begun += len(states)
    return begun


def _missed(run: PolicyRun) -> int:
    """How many due times before its own it stands for."""
    if "missed" not in run.note:
        return 0
    counted = re.search(r"(\d+) runs", run.note)
    count = int(counted[1]) if counted else 1
    return count if run.kind is RunKind.ON_TIME else count - 1
