"""Stores around stores: asking again, waiting for leave, counting."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from csbs.domain.errors import CsbsError, OperationCancelled
from csbs.repository.errors import (
    ObjectExists,
    StoreDenied,
    StoreFull,
    StoreMissing,
    StoreTimeout,
    StoreUnavailable,
)
from csbs.repository.objectstore import (
    MemoryStore,
    MeteredStore,
    ObjectInfo,
    RetryingStore,
    RetryPolicy,
    StoreUse,
    ThrottledStore,
    tail_of,
)
from csbs.testing.faults import Faults, FaultyStore

RESET = StoreUnavailable("packs/ab", "connection reset")


class Clock:
    """Time passes by sleeping alone."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cancel() -> threading.Event:
    return threading.Event()


@pytest.fixture
def policy(clock: Clock, cancel: threading.Event) -> RetryPolicy:
    return RetryPolicy(
        timeout_s=60,
        attempts_max=4,
        cancelled=cancel.is_set,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "only the answer lost"])
@pytest.mark.parametrize("error", [RESET, StoreTimeout("s", "put", "packs/ab", 1)], ids=repr)
def test_a_put_survives_failures_in_passing(
    policy: RetryPolicy, error: CsbsError, *, after_effect: bool
) -> None:
    faults = Faults().on("put", error, times=3, after_effect=after_effect)
    inner = MemoryStore()
    RetryingStore(FaultyStore(inner, faults), policy).put("packs/ab", [b"x"])

    assert inner.get("packs/ab") == b"x"
    faults.assert_all_fired()


@pytest.mark.parametrize(
    "error",
    [
        ObjectExists("packs/ab"),
        StoreDenied("s3://b", "no"),
        StoreMissing("s3://b", "no bucket"),
        StoreFull("s3://b", 0, 1),
    ],
    ids=repr,
)
def test_what_is_final_is_raised_at_once(policy: RetryPolicy, error: CsbsError) -> None:
    metered = MeteredStore(FaultyStore(MemoryStore(), Faults().on("put", error)))

    with pytest.raises(type(error)):
        RetryingStore(metered, policy).put("packs/ab", [b"x"])
    assert metered.use.calls == {"put": 1}


def test_the_number_of_attempts_is_bounded_and_the_last_error_raised(policy: RetryPolicy) -> None:
    metered = MeteredStore(FaultyStore(MemoryStore(), Faults().on("get", RESET, times=99)))

    with pytest.raises(StoreUnavailable, match="connection reset"):
        RetryingStore(metered, policy).get("packs/ab")
    assert metered.use.calls == {"get": 4}


def test_no_attempt_begins_behind_the_limit_of_the_call(clock: Clock) -> None:
    policy = RetryPolicy(
        timeout_s=10,
        attempts_max=99,
        wait_min_s=4,
        cancelled=lambda: False,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    metered = MeteredStore(FaultyStore(MemoryStore(), Faults().on("get", RESET, times=99)))

    with pytest.raises(StoreUnavailable):
        RetryingStore(metered, policy).get("packs/ab")
    assert clock.now_s <= 110
    assert metered.use.calls["get"] > 1


def test_waits_double_up_to_a_bound_and_differ_by_key() -> None:
    policy = RetryPolicy(timeout_s=60, wait_min_s=1, wait_max_s=4, cancelled=lambda: False)
    waits = [policy.wait_s(attempt, "packs/ab") for attempt in (1, 2, 3, 4, 5)]

    assert waits == [waits[0] * factor for factor in (1, 2, 4, 4, 4)]
    assert 0.5 <= waits[0] <= 1
    assert policy.wait_s(1, "packs/cd") != waits[0]


def test_a_cancel_ends_the_wait(policy: RetryPolicy, cancel: threading.Event) -> None:
    cancel.set()
    store = RetryingStore(FaultyStore(MemoryStore(), Faults().on("get", RESET)), policy)

    with pytest.raises(OperationCancelled, match="the get of packs/ab"):
        store.get("packs/ab")


class _BreakingOff(MemoryStore):
    """Gives five entries of a listing, then the connection is lost; the next time all come."""

    def __init__(self) -> None:
        super().__init__()
        self._broken = False

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for number, info in enumerate(super().list(prefix)):
            if number == 5 and not self._broken:
                self._broken = True
                raise RESET
            yield info


def test_a_listing_that_breaks_off_gives_each_object_once(policy: RetryPolicy) -> None:
    inner = _BreakingOff()
    for number in range(12):
        inner.put(f"packs/{number}", [b"x"])

    listed = [info.key for info in RetryingStore(inner, policy).list("packs/")]

    assert sorted(listed) == sorted(f"packs/{number}" for number in range(12))


def test_leave_is_asked_for_what_is_sent_and_for_what_came() -> None:
    taken: list[int] = []
    store = ThrottledStore(MemoryStore(), taken.append)
    store.put("a/b", [b"123", b"4567"])
    store.replace("a/c", b"12")
    store.get("a/b", offset=4)
    tail_of(store, "a/b", 5)
    store.size("a/b")

    assert taken == [7, 2, 3, 5]


def test_use_counts_calls_and_bytes() -> None:
    store = MeteredStore(MemoryStore())
    store.put("a/b", [b"123", b"4567"])
    store.replace("a/c", b"12")
    store.get("a/b", size=3)
    tail_of(store, "a/b", 1)
    list(store.list("a/"))

    assert store.use == StoreUse(
        calls={"put": 1, "replace": 1, "get": 2, "list": 1},
        put_bytes=9,
        got_bytes=4,
        in_flight_max=1,
    )
