"""The disks of one job, several of them at once, each on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def side_by_side(
    items: Sequence[A],
    work: Callable[[A], B],
    done: Callable[[A, B], None],
    *,
    pool: ThreadPoolExecutor,
    stop: threading.Event,
) -> None:
    """Does the work for all items, begun in their order, on the threads of the pool.

    `done` is called by the calling thread, as each is done.  The first failure, of the work or of
    `done`, sets `stop`, for which the work must look out.  Then no more work begins, all that has
    begun is waited for, `done` hears of what ended well all the same, and the failure is raised.
    """
    failures: list[BaseException] = []

    def begin(item: A) -> tuple[B] | None:
        if stop.is_set():
            return None
        try:
            return (work(item),)
        except BaseException as error:  # noqa: BLE001  the top of a thread: raised by the caller
            failures.append(error)
            stop.set()
            return None

    futures = {pool.submit(begin, item): item for item in items}
    try:
        for future in as_completed(futures):
            result = future.result()
            try:
                if result is not None:
                    done(futures[future], *result)
            except Exception as error:  # noqa: BLE001  the first failure is raised below
                failures.append(error)
                stop.set()
    finally:
        stop.set()
    if failures:
        raise failures[0]
