"""Calls to a store that hangs end all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from csbs.domain.errors import OperationCancelled
from csbs.repository.errors import ObjectNotFound, StoreTimeout
from csbs.repository.objectstore import MemoryStore, TimeLimit, TimeLimitedStore
from csbs.repository.objectstore.time_limit import CALLS_MAX
from csbs.testing.faults import BlockingStore


class Clock:
    """Ten seconds pass with each look at it."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += 10
        return self._now_s


@pytest.fixture
def cancel() -> threading.Event:
    return threading.Event()


@pytest.fixture
def blocking() -> Iterator[BlockingStore]:
    store = BlockingStore(MemoryStore(), "get", key_prefix="slow/")
    store.hold()
    yield store
    store.release()


@pytest.fixture
def store(blocking: BlockingStore, cancel: threading.Event) -> TimeLimitedStore:
    limit = TimeLimit(timeout_s=100, cancelled=cancel.is_set, monotonic=Clock())
    return TimeLimitedStore(blocking, limit, name="nfs")


def test_a_call_that_hangs_names_the_store_and_the_call(store: TimeLimitedStore) -> None:
    with pytest.raises(StoreTimeout, match=r"nfs did not answer within 100 s \(get slow/a\)"):
        store.get("slow/a")


def test_after_a_call_that_hangs_the_others_get_less_time_until_it_ends(
    store: TimeLimitedStore, blocking: BlockingStore
) -> None:
    with pytest.raises(StoreTimeout, match="100 s"):
        store.get("slow/a")
    with pytest.raises(StoreTimeout, match="10 s"):
        store.get("slow/b")
    store.put("fast/c", [b"x"])

    assert store.get("fast/c") == b"x"
    blocking.release()
    with pytest.raises(ObjectNotFound):
        store.get("slow/a")


def test_the_number_of_threads_that_hang_is_bounded(blocking: BlockingStore) -> None:
    before = threading.active_count()
    limit = TimeLimit(timeout_s=0.01, cancelled=lambda: False)
    store = TimeLimitedStore(blocking, limit, name="nfs")
    for number in range(CALLS_MAX + 2):
        with pytest.raises(StoreTimeout):
            store.get(f"slow/{number}")

    assert threading.active_count() - before <= CALLS_MAX


def test_a_cancel_ends_a_call_that_hangs(
    store: TimeLimitedStore, blocking: BlockingStore, cancel: threading.Event
) -> None:
    def when_reached() -> None:
        blocking.reached.wait(30)
        cancel.set()

    canceller = threading.Thread(target=when_reached)
    canceller.start()
    with pytest.raises(OperationCancelled, match="get of slow/a at nfs"):
        store.get("slow/a")
    canceller.join(30)

    with pytest.raises(StoreTimeout, match=r"1\.5 s"):
        store.get("slow/b")


def test_a_listing_is_fetched_in_parts_and_may_hang() -> None:
    inner = BlockingStore(MemoryStore(), "list", key_prefix="slow/")
    inner.hold()
    limit = TimeLimit(timeout_s=100, cancelled=lambda: False, monotonic=Clock())
    store = TimeLimitedStore(inner, limit, name="nfs")
    keys = {f"a/{number}" for number in range(2500)}
    for key in keys:
        inner.put(key, [b""])

    assert {each.key for each in store.list("a/")} == keys
    with pytest.raises(StoreTimeout, match="list slow/"):
        list(store.list("slow/"))
    inner.release()
