"""Rounds: begun at once, gone on with after a failure, and ended within their time."""

from __future__ import annotations

import threading

from csbs.domain.errors import CatalogFailed
from csbs.services.rounds import Rounds, Stopping

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
