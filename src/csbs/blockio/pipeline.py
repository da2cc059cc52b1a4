"""A bounded map over threads that keeps the order, and a producer that runs ahead."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def map_bounded(
    pool: Executor, function: Callable[[A], B], items: Iterable[A], *, in_flight_max: int
) -> Generator[B, None, None]:
    """Results in order, with at most `in_flight_max` calls in flight or waiting to be taken.

    `Executor.map` would take all its input at once: for a disk of 16 TiB, four million chunks.
    The first error, in the order of the items, ends it.  However it ends (close it), calls that
    have not begun are dropped; those that have are the pool's to wait for.
    """
    pending: deque[Future[B]] = deque()
    try:
        for item in items:
            if len(pending) == in_flight_max:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def run_ahead(items: Iterable[A], *, ahead_max: int) -> Iterator[Iterator[A]]:
    """The items, produced by a thread that is at most `ahead_max` of them ahead.

    An error of the producer comes out of the iterator at its place.  Leaving the block stops the
    producer at its next item, and waits for that.
    """
    made: queue.Queue[tuple[A] | Exception | None] = queue.Queue(ahead_max)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                made.put((item,))
                if stopped.is_set():
                    return
            made.put(None)
        except Exception as error:  # noqa: BLE001  the top of a thread: raised again by the taker
            made.put(error)

    def take() -> Iterator[A]:
        while (each := made.get()) is not None:
            if isinstance(each, Exception):
                raise each
            yield each[0]

    thread = threading.Thread(target=produce, name="run-ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        while thread.is_alive():
            _drain(made)
            thread.join(0.05)


def _drain(made: queue.Queue[A]) -> None:
    try:
        while True:
            made.get_nowait()
    except queue.Empty:
        pass
