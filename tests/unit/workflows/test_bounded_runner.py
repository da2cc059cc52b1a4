"""A few tasks are handed over at a time, in their order, what somebody asked for first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csbs.domain.ids import ProjectId, ServerId, TaskId
from csbs.domain.task import Task, TaskKind, waiting_task
from csbs.testing.values import START, make_backup
from csbs.workflows.bounded_runner import BoundedRunner
from csbs.workflows.runner import Control, Execute


class Inner:
    """See `Runner`; carries out what a test says."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.taken: list[str] = []
        self.did: list[str] = []

    def start(self, task: Task) -> None:
        self.taken.append(task.id)

    def cancel(self, task: Task) -> None:
        self.did.append(f"cancel {task.id}")

    def launch(self) -> None:
        self.did.append("launch")

    def forget_ended(self) -> None:
        self.did.append("forget")

    def stop(self, *, timeout_s: float) -> bool:
        self.did.append(f"stop {timeout_s}")
        return True

    def carry_out(self, task_id: str) -> None:
        self._execute(ProjectId("p"), TaskId(task_id), Control())


class Lab:
    def __init__(self, handed_max: int = 2) -> None:
        self.executed: list[str] = []
        self.runner = BoundedRunner(self._execute, self._make, handed_max=handed_max)

    def _make(self, execute: Execute) -> Inner:
        self.inner = Inner(execute)
        return self.inner

    def _execute(self, _project: ProjectId, task_id: TaskId, _control: Control) -> None:
        self.executed.append(task_id)
        if task_id == "bad":
            raise ZeroDivisionError

    def start(self, *ids: str, server: str | None = None, note: str = "") -> None:
        for each in ids:
            task = waiting_task(
                TaskId(each), TaskKind.BACKUP, make_backup(1, {}), at=START, request={}
            )
            self.runner.start(replace(task, server_id=ServerId(server or each), note=note))


def test_so_many_are_handed_over_and_one_more_for_each_that_ends() -> None:
    lab = Lab()
    lab.start("a", "b", "c", "d")
    assert lab.inner.taken == ["a", "b"]

    lab.inner.carry_out("b")
    assert (lab.executed, lab.inner.taken) == (["b"], ["a", "b", "c"])
    lab.inner.carry_out("a")
    assert lab.inner.taken == ["a", "b", "c", "d"]


def test_one_of_a_server_is_handed_over_and_others_go_on() -> None:
    lab = Lab()
    lab.start("a1", "a2", server="a")
    lab.start("b")
    assert lab.inner.taken == ["a1", "b"]

    lab.inner.carry_out("a1")
    assert lab.inner.taken == ["a1", "b", "a2"]


def test_what_somebody_asked_for_goes_before_what_policies_began() -> None:
    lab = Lab()
    lab.start("p1", "p2", "p3", note="policy nightly")
    lab.start("mine")
    lab.inner.carry_out("p1")
    assert lab.inner.taken == ["p1", "p2", "mine"]


def test_what_is_given_again_waits_once() -> None:
    lab = Lab()
    lab.start("a", "b", "c", "c")
    lab.inner.carry_out("a")
    lab.inner.carry_out("b")
    assert lab.inner.taken == ["a", "b", "c"]


def test_what_was_handed_over_is_handed_over_again() -> None:
    """The runner may have failed to take it."""
    lab = Lab()
    lab.start("a", "a")
    assert lab.inner.taken == ["a", "a"]


def test_a_task_of_a_former_life_and_one_that_fails_let_others_go_on() -> None:
    lab = Lab(handed_max=1)
    lab.start("bad", "b")
    lab.inner.carry_out("former")
    with pytest.raises(ZeroDivisionError):
        lab.inner.carry_out("bad")
    assert lab.inner.taken == ["bad", "b"]


def test_a_stop_leaves_what_waits() -> None:
    lab = Lab(handed_max=1)
    lab.runner.launch()
    lab.start("a", "b")
    lab.runner.forget_ended()
    assert lab.runner.stop(timeout_s=3)
    lab.inner.carry_out("a")
    assert lab.inner.taken == ["a"]
    assert lab.inner.did == ["launch", "forget", "stop 3"]
