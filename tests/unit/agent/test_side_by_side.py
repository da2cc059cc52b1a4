from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from csbs.agent.side_by_side import side_by_side

BOUND_S = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def run(pool: ThreadPoolExecutor, items: str, work: Callable[[str], str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    caller = threading.get_ident()

    def done(item: str, result: str) -> None:
        assert threading.get_ident() == caller
        found.append((item, result))

    side_by_side(items, work, done, pool=pool, stop=threading.Event())
    return found


def test_all_is_done_and_the_caller_told(pool: ThreadPoolExecutor) -> None:
    assert sorted(run(pool, "abcd", str.upper)) == [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")]


def test_a_small_one_does_not_wait_for_a_large_one(pool: ThreadPoolExecutor) -> None:
    small_are_done = threading.Event()

    def work(item: str) -> str:
        if item == "L":
            assert small_are_done.wait(BOUND_S)
        if item == "c":
            small_are_done.set()
        return item

    assert run(pool, "Labc", work)[-1] == ("L", "L")


def test_the_first_failure_ends_all_and_what_ended_well_is_told() -> None:
    """`a` is done, `b` fails, `c` is stopped by that, `d` never begins."""
    stop = threading.Event()
    begun, done = set(), []
    all_begun = threading.Barrier(3)

    def work(item: str) -> str:
        begun.add(item)
        all_begun.wait(BOUND_S)
        if item == "b":
            raise ValueError(item)
        assert stop.wait(BOUND_S)
        if item == "c":
            raise LookupError(item)
        return item

    with ThreadPoolExecutor(3) as pool, pytest.raises(ValueError, match="b"):
        side_by_side("abcd", work, lambda item, _: done.append(item), pool=pool, stop=stop)

    assert (begun, done) == ({"a", "b", "c"}, ["a"])


def test_a_failure_of_the_caller_ends_all_too() -> None:
    stop = threading.Event()
    told = []
    all_begun = threading.Barrier(2)

    def work(item: str) -> str:
        all_begun.wait(BOUND_S)
        if item == "b":
            assert stop.wait(BOUND_S)
        return item

    def done(item: str, _: str) -> None:
        told.append(item)
        raise ValueError(item)

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="a"):
        side_by_side("ab", work, done, pool=pool, stop=stop)

    assert told == ["a", "b"]
