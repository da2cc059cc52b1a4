"""What a catalog keeps of runs of policies and of tags of servers, on any database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from csbs.catalog import Catalog, policies, runs, server_tags, servers, tasks
from csbs.domain.due_run import RunKind
from csbs.domain.errors import CatalogFailed
from csbs.domain.ids import CheckpointId, PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.policy import Policy
from csbs.domain.policy_run import PolicyRun, RunState, ServerRun, ServerRunState
from csbs.domain.tags import Tag
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.testing.catalog_contract import waiting
from csbs.testing.policy_catalog_contract import (
    BOUND,
    OTHER,
    SCHEDULE,
    SERVER,
    add,
    add_other_project,
    make_policy,
)
from csbs.testing.values import START

HOUR = timedelta(hours=1)


def make_run(policy: Policy, number: int = 1, **values: object) -> PolicyRun:
    """A run that is due so many hours after `START`."""
    run = PolicyRun(
        id=CheckpointId(f"r{number}-{policy.id}"),
        project_id=policy.project_id,
        policy_id=policy.id,
        schedule_id=policy.schedules[0].id,
        due_at=START + number * HOUR,
        kind=RunKind.ON_TIME,
        note="due",
        state=RunState.CLAIMED,
        claimed_at=START + number * HOUR,
    )
    return replace(run, **values)  # type: ignore[arg-type]  # by the names of its fields


def make_part(run: PolicyRun, server_id: ServerId = SERVER, **values: object) -> ServerRun:
    """A server's part that waits."""
    part = ServerRun(
        run_id=run.id,
        server_id=server_id,
        project_id=run.project_id,
        policy_id=run.policy_id,
        begins_at=run.due_at,
        state=ServerRunState.WAITING,
    )
    return replace(part, **values)  # type: ignore[arg-type]  # by the names of its fields


def claim(catalog: Catalog, run: PolicyRun, *parts: ServerRun) -> PolicyRun:
    """Enters it."""
    with catalog.transaction() as transaction:
        runs.claim(transaction, run, parts)
    return run


def bound_policy(catalog: Catalog, project: ProjectId) -> Policy:
    """A policy with server `s`, whose schedule is due at `START`."""
    schedule = replace(SCHEDULE, id="o-p1", enabled=True, next_run_at=START)
    return add(catalog, make_policy(project, servers=(BOUND,), schedules=(schedule,)))


class RunCatalogContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    def test_schedules_that_are_due_come_in_batches(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        for number, at in enumerate((START, START, START + HOUR, None)):
            schedule = replace(SCHEDULE, id=f"o{number}", enabled=True, next_run_at=at)
            add(catalog, make_policy(project, f"p{number}", schedules=(schedule,)))

        with catalog.transaction() as transaction:
            assert runs.due(transaction, START - HOUR, after=None, limit=9) == []
            [first] = runs.due(transaction, START, after=None, limit=1)
            [second] = runs.due(transaction, START, after=first, limit=9)
            assert (first.schedule_id, second.schedule_id) == ("o0", "o1")
            assert (first.policy_id, first.project_id) == ("p0", project)
            assert runs.next_due_at(transaction, without=()) == START
            assert runs.next_due_at(transaction, without={"o0", "o1"}) == START + HOUR
            runs.set_next_run(transaction, "o0", None)
            assert runs.due(transaction, START, after=None, limit=9) == [second]
            found = runs.enabled(transaction, after="o0", limit=2)
            assert [each.schedule_id for each in found] == ["o1", "o2"]

    def test_a_due_time_is_answered_once(self, catalog: Catalog, project: ProjectId) -> None:
        policy = bound_policy(catalog, project)
        run = claim(catalog, make_run(policy), make_part(make_run(policy)))

        with pytest.raises(CatalogFailed):
            claim(catalog, replace(run, id=CheckpointId("another")))

        with catalog.transaction() as transaction:
            assert runs.is_claimed(transaction, run.schedule_id, run.due_at)
            assert not runs.is_claimed(transaction, run.schedule_id, START)
            assert runs.of_policy(transaction, project, policy.id, limit=9) == [run]
            assert runs.parts(transaction, project, run.id) == [make_part(run)]
            assert runs.of_policy(transaction, OTHER, policy.id, limit=9) == []
            assert runs.parts(transaction, OTHER, run.id) == []

    def test_of_many_at_once_one_answers_a_due_time(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        run = make_run(bound_policy(catalog, project))

        def try_it(number: int) -> bool:
            try:
                claim(catalog, replace(run, id=CheckpointId(f"r{number}")))
            except CatalogFailed:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(try_it, range(8))) == 1

    def test_of_a_server_one_part_waits(self, catalog: Catalog, project: ProjectId) -> None:
        policy = bound_policy(catalog, project)
        first = claim(catalog, make_run(policy), make_part(make_run(policy)))
        second = claim(catalog, make_run(policy, 2), make_part(make_run(policy, 2)))

        with catalog.transaction() as transaction:
            [part] = runs.parts(transaction, project, second.id)
            assert part.state is ServerRunState.MERGED
            begun = make_part(first, state=ServerRunState.BEGUN)
            runs.leave_waiting(transaction, first.id, [begun])
        third = claim(catalog, make_run(policy, 3), make_part(make_run(policy, 3)))
        with catalog.transaction() as transaction:
            assert runs.parts(transaction, project, third.id) == [make_part(third)]

    def test_a_servers_turn_comes_behind_what_works_on_it(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        task = waiting(catalog, project)
        policy = bound_policy(catalog, project)
        run = make_run(policy)
        claim(catalog, run, make_part(run, task.server_id))
        later = run.due_at + HOUR

        with catalog.transaction() as transaction:
            assert runs.runs_with_ready(transaction, later, after=None, limit=9) == []
            assert runs.is_queued(transaction, later)
            outcome = tasks.TaskOutcome(state=TaskState.DONE, ended_at=later)
            tasks.end(transaction, project, task.id, outcome)
            assert runs.runs_with_ready(transaction, later, after=None, limit=9) == [run]
            assert list(runs.ready(transaction, run, later)) == [task.server_id]
            early = run.due_at - HOUR
            assert runs.runs_with_ready(transaction, early, after=None, limit=9) == []
            assert runs.next_begin_at(transaction, early) == run.due_at
            assert not runs.is_queued(transaction, early)
            assert runs.runs_with_ready(transaction, later, after=run, limit=9) == []

    def test_a_run_goes_on_as_its_servers_do(self, catalog: Catalog, project: ProjectId) -> None:
        task = waiting(catalog, project)
        policy = bound_policy(catalog, project)
        run = make_run(policy)
        claim(catalog, run, make_part(run, task.server_id))

        assert self._advanced(catalog, policy) == (RunState.CLAIMED, None)
        begun = make_part(run, task.server_id, state=ServerRunState.BEGUN, task_id=task.id)
        with catalog.transaction() as transaction:
            runs.leave_waiting(transaction, run.id, [begun])
        assert self._advanced(catalog, policy) == (RunState.DISPATCHED, None)
        with catalog.transaction() as transaction:
            outcome = tasks.TaskOutcome(state=TaskState.DONE, ended_at=START)
            tasks.end(transaction, project, task.id, outcome)
        assert self._advanced(catalog, policy) == (RunState.ENDED, START)

    def _advanced(self, catalog: Catalog, policy: Policy) -> tuple[RunState, datetime | None]:
        with catalog.transaction() as transaction:
            runs.advance(transaction, at=START)
            [run] = runs.of_policy(transaction, policy.project_id, policy.id, limit=9)
        return run.state, run.ended_at

    def test_what_waits_is_dropped_but_for_those_that_are_kept(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        task = waiting(catalog, project)
        policy = bound_policy(catalog, project)
        other = ServerId("other")
        with catalog.transaction() as transaction:
            servers.remember_server(transaction, project, other, "db")
        run = make_run(policy)
        claim(catalog, run, make_part(run, other), make_part(run, task.server_id))

        with catalog.transaction() as transaction:
            begun = make_part(run, task.server_id, state=ServerRunState.BEGUN, task_id=task.id)
            runs.leave_waiting(transaction, run.id, [begun])
            kept = [other, task.server_id]
            runs.drop(transaction, policy.id, kept=kept)
            assert runs.begun_and_waiting(transaction, policy.id, kept=kept) == []
            runs.drop(transaction, policy.id, kept=[])
            found = runs.parts(transaction, project, run.id)
            assert {each.server_id: each.state for each in found} == {
                other: ServerRunState.DROPPED,
                task.server_id: ServerRunState.BEGUN,
            }
            assert runs.begun_and_waiting(transaction, policy.id, kept=[]) == [task.id]
            assert runs.begun_and_waiting(transaction, PolicyId("another"), kept=[]) == []

    def test_runs_go_with_their_policy(self, catalog: Catalog, project: ProjectId) -> None:
        policy = bound_policy(catalog, project)
        run = claim(catalog, make_run(policy), make_part(make_run(policy)))

        with catalog.transaction() as transaction:
            policies.save(transaction, policy)
            assert len(runs.parts(transaction, project, run.id)) == 1
            policies.remove(transaction, project, policy.id)
            assert runs.parts(transaction, project, run.id) == []
            assert not runs.is_claimed(transaction, run.schedule_id, run.due_at)

    def test_a_policy_keeps_its_rule_and_when_it_is_due(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        schedule = replace(SCHEDULE, next_run_at=START + HOUR)
        rule = (Tag("a", "1"), Tag("b", ""))
        for number, auto_bind in enumerate((None, (), rule)):
            made = make_policy(
                project,
                f"p{number}",
                schedules=(replace(schedule, id=f"o{number}"),),
                auto_bind=auto_bind,
            )
            add(catalog, made)
            with catalog.transaction() as transaction:
                assert policies.get(transaction, project, made.id) == made

    def test_tags_of_servers(self, catalog: Catalog, project: ProjectId) -> None:
        add_other_project(catalog)
        given = (Tag("a", "1"), Tag("b", ""))

        with catalog.transaction() as transaction:
            servers.remember_server(transaction, project, SERVER, "web")
            server_tags.set_of_server(transaction, project, SERVER, (Tag("old", ""),))
            server_tags.set_of_server(transaction, project, SERVER, given)
            assert server_tags.of_server(transaction, project, SERVER) == given
            assert server_tags.of_project(transaction, project) == {SERVER: given}
            assert server_tags.of_project(transaction, OTHER) == {}
            assert server_tags.of_server(transaction, OTHER, SERVER) == ()
            server_tags.set_of_server(transaction, project, SERVER, ())
            assert server_tags.of_project(transaction, project) == {}

    def test_rules_leave_bound_servers_and_those_that_were_let_go(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        bound_policy(catalog, project)
        let_go = ServerId("let go")
        with catalog.transaction() as transaction:
            servers.remember_server(transaction, project, let_go, "db")
            assert server_tags.not_for_rules(transaction, project) == {SERVER}
            server_tags.keep_unbound(transaction, project, [let_go], keep=True)
            assert server_tags.not_for_rules(transaction, project) == {SERVER, let_go}
            assert server_tags.not_for_rules(transaction, OTHER) == frozenset()
            server_tags.keep_unbound(transaction, project, [let_go], keep=False)
            assert server_tags.not_for_rules(transaction, project) == {SERVER}

    def test_a_task_keeps_its_note(self, catalog: Catalog, project: ProjectId) -> None:
        other = waiting(catalog, project)
        noted: Task = replace(other, id=TaskId("t2"), note="catches up", kind=TaskKind.BACKUP)

        with catalog.transaction() as transaction:
            tasks.add(transaction, noted)
            assert tasks.get(transaction, project, noted.id) == noted
            assert tasks.get(transaction, project, other.id).note == ""
