from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from csbs.blockio.pipeline import map_bounded, run_ahead

BOUND_S = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_results_keep_the_order_of_the_items(pool: ThreadPoolExecutor) -> None:
    later_has_ended = threading.Event()

    def first_waits_for_second(item: int) -> int:
        if item == 0:
            assert later_has_ended.wait(BOUND_S)
        if item == 1:
            later_has_ended.set()
        return item

    found = list(map_bounded(pool, first_waits_for_second, range(50), in_flight_max=2))

    assert found == list(range(50))


def test_items_are_taken_no_faster_than_results(pool: ThreadPoolExecutor) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    with closing(map_bounded(pool, lambda item: item, items(), in_flight_max=3)) as results:
        for count, _ in enumerate(results, 1):
            assert taken <= count + 3


def test_the_first_error_in_order_ends_it_and_drops_what_has_not_begun() -> None:
    begun: list[int] = []

    def fail(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        pool.submit(gate.wait, BOUND_S)
        results = map_bounded(pool, fail, range(1000), in_flight_max=8)
        threading.Timer(0.01, gate.set).start()
        with pytest.raises(ValueError, match="1"):
            list(results)

    assert len(begun) <= 10


def test_closing_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def wait(item: int) -> int:
        begun.append(item)
        if item > 0:
            assert gate.wait(BOUND_S)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = map_bounded(pool, wait, range(1000), in_flight_max=8)
        assert next(results) == 0
        results.close()
        gate.set()

    assert len(begun) <= 2


def test_an_error_of_the_items_comes_out_and_nothing_is_left_behind(
    pool: ThreadPoolExecutor,
) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        list(map_bounded(pool, lambda item: item, items(), in_flight_max=4))


def test_running_ahead_gives_all_items_in_order() -> None:
    with run_ahead(range(1000), ahead_max=4) as items:
        assert list(items) == list(range(1000))


def test_the_producer_is_at_most_so_far_ahead() -> None:
    made = 0
    reached = threading.Event()

    def produce() -> Iterator[int]:
        nonlocal made
        for item in range(1000):
            made += 1
            if made == 6:
                reached.set()
            yield item

    with run_ahead(produce(), ahead_max=4) as items:
        assert next(items) == 0
        assert reached.wait(BOUND_S)  # 1 taken, 4 in the queue, 1 in the hand
        assert made == 6
        assert next(items) == 1


def test_an_error_of_the_producer_comes_out_at_its_place() -> None:
    def produce() -> Iterator[int]:
        yield from range(3)
        raise LookupError

    with run_ahead(produce(), ahead_max=10) as items:
        found = [next(items) for _ in range(3)]
        with pytest.raises(LookupError):
            next(items)

    assert found == [0, 1, 2]


def test_leaving_stops_a_producer_that_is_far_ahead() -> None:
    threads_before = threading.active_count()

    with run_ahead(iter(int, 1), ahead_max=4) as items:  # zeroes without end
        assert next(items) == 0

    assert threading.active_count() == threads_before
