"""The rate limit, by a clock of the test's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from csbs.agent.copy_pool import CopyPool
from csbs.agent.rate_limit import RateLimit
from csbs.domain.errors import OperationCancelled
from tests.unit.compute.guest import FakeClock


def never() -> bool:
    return False


def test_what_is_taken_is_paid_for_by_the_next() -> None:
    clock = FakeClock()
    limit = RateLimit(100, monotonic=clock.monotonic, sleep=clock.sleep)
    moments = []
    for size_bytes in (50, 100, 10, 0):
        limit.take(size_bytes, never)
        moments.append(round(clock.now_s, 6))

    assert moments == [0, 0.5, 1.5, 1.6]


def test_two_disks_at_once_share_one_limit() -> None:
    clock = FakeClock()
    limit = RateLimit(100, monotonic=clock.monotonic, sleep=clock.sleep)

    def read(size_bytes: int) -> int:
        limit.take(size_bytes, never)
        return size_bytes

    with CopyPool(threads=2, in_flight_max=4) as pool, ThreadPoolExecutor(2) as copies:
        disks = [copies.submit(lambda: sum(pool.map(read, [10] * 50))) for _ in range(2)]
        read_bytes = sum(each.result(10) for each in disks)

    assert read_bytes == 1000
    assert clock.now_s >= (read_bytes - 10) / 100 - 1e-6  # the last piece is paid for by nobody


def test_unused_time_is_not_saved_up() -> None:
    clock = FakeClock()
    limit = RateLimit(100, monotonic=clock.monotonic, sleep=clock.sleep)
    clock.sleep(60)
    for _ in range(3):
        limit.take(100, never)

    assert round(clock.now_s, 6) == 62


def test_a_wait_ends_soon_after_a_cancel() -> None:
    clock = FakeClock()
    limit = RateLimit(100, monotonic=clock.monotonic, sleep=clock.sleep)
    limit.take(100_000, never)

    with pytest.raises(OperationCancelled):
        limit.take(1, lambda: clock.now_s > 1)

    assert clock.now_s < 1.5
