"""Rounds: begun at once, gone on with after a failure, and ended within their time."""

from __future__ import annotations

import threading

import pytest

from csbs.domain.errors import CatalogFailed
from csbs.domain.ids import ProjectId
from csbs.services.rounds import Rounds, Stopping, for_each_project

_TIMEOUT_S = 30.0


def test_a_round_that_fails_is_followed_by_the_next() -> None:
    begun = threading.Semaphore(0)

    def fail(_stopping: Stopping) -> None:
        begun.release()
        raise CatalogFailed("x", "away")

    rounds = Rounds("x", fail, 0.0)
    rounds.start()
    both = [begun.acquire(timeout=_TIMEOUT_S) for _ in range(2)]

    assert both == [True, True]
    assert rounds.stop()


def test_a_round_is_told_of_the_stop_and_ends() -> None:
    entered, seen = threading.Event(), threading.Event()

    def work(stopping: Stopping) -> None:
        entered.set()
        while not stopping():
            seen.wait(0.001)

    rounds = Rounds("x", work, 60.0)
    rounds.start()
    assert entered.wait(_TIMEOUT_S)

    assert rounds.stop()


def test_a_stop_says_so_if_a_round_goes_on() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hang(_stopping: Stopping) -> None:
        entered.set()
        go_on.wait(_TIMEOUT_S)

    rounds = Rounds("x", hang, 60.0, stop_wait_s=0.05)
    rounds.start()
    assert entered.wait(_TIMEOUT_S)
    still = rounds.stop()
    go_on.set()

    assert not still


PROJECTS = [ProjectId(name) for name in ("a", "b", "c")]


@pytest.mark.parametrize("error", [CatalogFailed("x", "away"), TypeError("a fault of ours")])
def test_what_fails_in_one_project_hinders_no_other(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    done = []

    def work(project_id: ProjectId, _stopping: Stopping) -> None:
        if project_id == "b":
            raise error
        done.append(project_id)

    for_each_project(lambda: PROJECTS, work, "work failed")(lambda: False)

    assert done == ["a", "c"]
    [told] = caplog.records
    assert told.message == "work failed"
    assert vars(told)["project_id"] == "b"


def test_no_further_project_is_begun_when_the_service_stops() -> None:
    done: list[ProjectId] = []

    for_each_project(lambda: PROJECTS, lambda each, _: done.append(each), "")(lambda: bool(done))

    assert done == ["a"]
