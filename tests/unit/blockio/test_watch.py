from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from csbs.blockio.watch import Ended, Watch, WatchedSocket

BOUND_S = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(BOUND_S)
    with ours, theirs:
        yield ours, theirs


def is_shut_down(theirs: socket.socket) -> bool:
    theirs.setblocking(False)
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("now", "unwanted", "ended"),
    [
        pytest.param(9.9, False, None, id="in time"),
        pytest.param(10.0, False, Ended.LATE, id="late"),
        pytest.param(0.0, True, Ended.UNWANTED, id="unwanted"),
        pytest.param(99.0, True, Ended.UNWANTED, id="unwanted and late"),
    ],
)
def test_a_call_is_ended_when_it_is_late_or_unwanted(
    pair: tuple[socket.socket, socket.socket], now: float, *, unwanted: bool, ended: Ended | None
) -> None:
    ours, theirs = pair
    watched = WatchedSocket(ours)
    watched.begin(deadline=10.0)

    watched.look(now, unwanted=unwanted)

    assert watched.ended is ended
    assert is_shut_down(theirs) == (ended is not None)


def test_an_idle_connection_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    watched = WatchedSocket(ours)
    watched.begin(deadline=10.0)
    watched.end()

    watched.look(1000.0, unwanted=True)

    assert watched.ended is None
    assert not is_shut_down(theirs)


def test_a_server_that_went_first_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    watched = WatchedSocket(ours)
    watched.begin(deadline=0.0)
    ours.close()

    watched.look(1.0, unwanted=False)

    assert watched.ended is Ended.LATE


def test_the_thread_ends_late_calls(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    now = 0.0
    with (
        Watch(cancelled=lambda: False, monotonic=lambda: now) as watch,
        watch.over(ours) as watched,
    ):
        watched.begin(watch.now() + 5.0)
        now = 5.0

        assert theirs.recv(1) == b""
        assert watched.ended is Ended.LATE


def test_a_cancel_and_an_interrupt_end_calls(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    cancel = threading.Event()
    with (
        Watch(cancelled=cancel.is_set, monotonic=lambda: 0.0) as watch,
        watch.over(ours) as watched,
    ):
        watched.begin(5.0)
        assert not watch.unwanted()
        cancel.set()

        assert theirs.recv(1) == b""
        assert watched.ended is Ended.UNWANTED
        cancel.clear()
        assert not watch.unwanted()
        watch.interrupt()
        assert watch.unwanted()
