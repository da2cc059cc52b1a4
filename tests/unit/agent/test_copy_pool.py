"""One bound of threads and of pieces in flight, over all disks of a job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from csbs.agent.copy_pool import CopyPool

BOUND_S = 10.0


class Count:
    """How many there are at once, and how many there were at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0

    def add(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most = max(self.most, self.now)


def counted(held: Count) -> Callable[[int], int]:
    def work(item: int) -> int:
        held.add(1)
        return item

    return work


@pytest.mark.parametrize("disks", [1, 20])
def test_what_is_in_flight_is_bounded_over_all_disks(disks: int) -> None:
    held, threads = Count(), Count()

    def work(item: int) -> int:
        threads.add(1)
        held.add(1)
        threads.add(-1)
        return item

    def copy(pool: CopyPool) -> list[int]:
        found = []
        for item in pool.map(work, range(100)):
            found.append(item)
            held.add(-1)
        return found

    with CopyPool(threads=3, in_flight_max=5) as pool, ThreadPoolExecutor(disks) as copies:
        results = [copies.submit(copy, pool) for _ in range(disks)]
        found = [each.result(BOUND_S) for each in results]

    assert found == [list(range(100))] * disks
    assert threads.most <= 3
    assert 1 < held.most <= 5


def test_results_keep_the_order_of_the_items() -> None:
    later_has_ended = threading.Event()

    def first_waits_for_second(item: int) -> int:
        if item == 0:
            assert later_has_ended.wait(BOUND_S)
        if item == 1:
            later_has_ended.set()
        return item

    with CopyPool(threads=2, in_flight_max=2) as pool:
        assert list(pool.map(first_waits_for_second, range(50))) == list(range(50))


def test_a_small_disk_does_not_wait_for_a_large_one() -> None:
    """The large one has taken all room, and would never give it back if it could help it."""
    small_is_done = threading.Event()
    large = []

    with (
        CopyPool(threads=1, in_flight_max=2) as pool,
        ThreadPoolExecutor(1) as copies,
        closing(pool.map(lambda item: item, range(100_000))) as results,
    ):
        next(results)
        small = copies.submit(lambda: list(pool.map(lambda item: -item, range(20))))
        small.add_done_callback(lambda _: small_is_done.set())
        for item in results:
            large.append(item)
            if small_is_done.is_set():
                break

    assert small.result() == [-item for item in range(20)]
    assert len(large) < 100_000 - 1


@pytest.mark.parametrize("way", ["an error of the work", "an error of the items", "closing"])
def test_however_one_disk_ends_the_others_have_all_room_again(way: str) -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise LookupError
        return item

    def items() -> Iterator[int]:
        yield from range(3)
        raise LookupError

    held = Count()
    with CopyPool(threads=2, in_flight_max=4) as pool:
        if way == "closing":
            with closing(pool.map(lambda item: item, range(100))) as results:
                assert [next(results), next(results)] == [0, 1]
        else:
            given = items() if way == "an error of the items" else range(100)
            with pytest.raises(LookupError):
                list(pool.map(fail, given))
        with closing(pool.map(counted(held), range(100))) as results:
            assert next(results) == 0

    assert held.most == 4


def test_what_has_begun_is_waited_for_and_the_rest_is_dropped() -> None:
    begun, ended = Count(), Count()
    gate = threading.Event()

    def work(item: int) -> int:
        begun.add(1)
        if item > 0:
            assert gate.wait(BOUND_S)
            ended.add(1)
        return item

    with CopyPool(threads=1, in_flight_max=8) as pool:
        results = pool.map(work, range(1000))
        assert next(results) == 0
        timer = threading.Timer(0.05, gate.set)
        timer.start()
        results.close()
        assert begun.most - 1 == ended.most
        timer.join()

    assert begun.most <= 2


def test_each_thread_is_initialized_first() -> None:
    initialized: set[int] = set()

    def work(_: int) -> bool:
        return threading.get_ident() in initialized

    with CopyPool(
        threads=3, in_flight_max=6, initializer=lambda: initialized.add(threading.get_ident())
    ) as pool:
        assert all(pool.map(work, range(50)))
