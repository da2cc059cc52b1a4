"""Following a task of a service: to its end, over a restart of the service, or no further."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from csbs.client.connection import Address, Connection
from csbs.client.errors import LoginEnded, ServiceUnreachable, ToldRefused, WatchLost
from csbs.client.watch import Follower, Watching
from csbs.domain.errors import CsbsError
from csbs.domain.task import Progress, Watcher

URL = "http://127.0.0.1:8774"
WATCHING = Watching(name="the backup of web", look="csbs task show 1")


@dataclass(frozen=True)
class Work:
    is_open: bool
    doing: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class Proof:
    def sign(self, request: httpx.Request) -> None:
        """Nothing is sent."""

    def renew(self) -> bool:
        return False

    def lost(self, url: str, refused: CsbsError) -> CsbsError:
        return refused


class Lab:
    """A follower on whose clock every pause takes a second, and a script of what it sees."""

    def __init__(self, *seen: Work | Exception) -> None:
        self.seen = list(seen)
        self.drawn: list[str] = []
        self.cancels = 0
        self.now_s = 0.0
        lab = self

        class Pause(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                lab.now_s += timeout or 0.0
                return self.is_set()

        self.cancel_wanted: threading.Event = Pause()
        watcher = Watcher(on_progress=self.draw, cancel=self.cancel_wanted)
        self.follower = Follower(
            connection=Connection(
                address=Address(url=URL),
                http=httpx.Client(base_url=URL),
                credentials=Proof(),
                sleep=self.sleep,
            ),
            watcher=watcher,
            monotonic=lambda: self.now_s,
        )

    def draw(self, progress: Progress) -> None:
        self.drawn.append(progress.doing)

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s

    def look(self) -> Work:
        seen = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def run(self, cancel: Callable[[], object] | None = None) -> Work:
        return self.follower.follow(WATCHING, self.look, cancel or self.count)

    def count(self) -> None:
        self.cancels += 1


OPEN, ENDED = Work(is_open=True, doing="reading vda"), Work(is_open=False)
AWAY = ServiceUnreachable(URL, "connection refused")


def test_progress_is_drawn_until_the_end() -> None:
    lab = Lab(Work(is_open=True), OPEN, ENDED)

    assert lab.run() is ENDED

    assert lab.drawn == ["waiting for its turn", "reading vda"]


def test_a_service_that_is_started_again_meanwhile_is_waited_for() -> None:
    lab = Lab(OPEN, AWAY, AWAY, OPEN, ENDED)

    assert lab.run() is ENDED


def test_a_service_that_stays_away_leaves_the_work_and_says_how_to_look_again() -> None:
    lab = Lab(OPEN, AWAY)

    with pytest.raises(WatchLost, match=r"the backup of web goes on .*`csbs task show 1` shows it"):
        lab.run()

    assert 30 <= lab.now_s < 60
    assert lab.cancels == 0


def test_a_login_that_ends_meanwhile_leaves_the_work_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab(OPEN, LoginEnded(URL))

    with pytest.raises(LoginEnded):
        lab.run()

    assert caplog.messages == ["the backup of web goes on there: `csbs task show 1` shows it"]


def test_a_stop_is_asked_for_once_and_its_end_awaited() -> None:
    lab = Lab(OPEN, OPEN, OPEN, ENDED)
    lab.cancel_wanted.set()

    assert lab.run() is ENDED

    assert lab.cancels == 1


def test_a_stop_that_comes_too_late_is_said_and_the_end_awaited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab(OPEN, ENDED)
    lab.cancel_wanted.set()

    def refuse() -> None:
        raise ToldRefused("1", "it has begun to write")

    assert lab.run(refuse) is ENDED

    assert caplog.messages == ["it has begun to write"]


def test_nobody_who_wants_to_stop_waits_for_a_service_that_is_away() -> None:
    lab = Lab(AWAY)
    lab.cancel_wanted.set()

    with pytest.raises(WatchLost):
        lab.run()

    assert lab.now_s == 0
