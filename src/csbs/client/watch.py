"""Following work that goes on in a service, to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from csbs.client.connection import Connection
from csbs.client.errors import ServiceUnreachable, WatchLost, told
from csbs.documents.base import Fault
from csbs.documents.repository import JobDocument
from csbs.documents.tasks import TaskDetails, TaskDocument
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.errors import Conflict, CsbsError, Denied, NotFound, Refused
from csbs.domain.task import Progress, Watcher

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _PAUSE_MAX_S = 0.05, 1.0
#: How long a service may be away, as while it is started again, before nobody waits any more.
_AWAY_MAX_S = 30.0


class Work(Protocol):
    """A task or a job."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""

    @property
    def doing(self) -> str:
        """What it is at, for people."""

    @property
    def done_bytes(self) -> int:
        """How far it is."""

    @property
    def total_bytes(self) -> int:
        """0 where that is not known."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What is followed, for a person."""

    #: `the backup of web1 (task 1234)`.
    name: str
    #: The command that shows it.
    look: str
    #: What stands at the bar before anything is told.
    waiting: str = "waiting for its turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Asks again and again how far something is."""

    connection: Connection
    watcher: Watcher
    monotonic: Monotonic = monotonic
    away_max_s: float = _AWAY_MAX_S

    def follow(self, watching: Watching, look: Callable[[], W], cancel: Callable[[], object]) -> W:
        """What it was when it had ended; a Ctrl-C asks for its stop, once, and its end is awaited.

        Raises `WatchLost`.
        """
        pause_s, asked = _FIRST_PAUSE_S, False
        while True:
            work = self._seen(watching, look)
            if not work.is_open:
                return work
            doing = work.doing or watching.waiting
            self.watcher.on_progress(Progress(doing, work.done_bytes, work.total_bytes))
            if self.watcher.cancel.is_set() and not asked:
                asked = True
                self._cancel(cancel)
                pause_s = _FIRST_PAUSE_S
            self._pause(pause_s, asked=asked)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    def _seen(self, watching: Watching, look: Callable[[], W]) -> W:
        away_since_s = self.monotonic()
        while True:
            try:
                return look()
            except Denied:  # the login has ended meanwhile
                log.warning("%s goes on there: `%s` shows it", watching.name, watching.look)
                raise
            except ServiceUnreachable as error:
                if (
                    self.monotonic() - away_since_s > self.away_max_s
                    or self.watcher.cancel.is_set()
                ):
                    url = self.connection.address.url
                    raise WatchLost(url, watching.name, error.why, watching.look) from error
                self._pause(_PAUSE_MAX_S, asked=False)

    def _cancel(self, cancel: Callable[[], object]) -> None:
        try:
            cancel()
        except (Refused, Conflict, NotFound) as error:  # too late: it goes on to its end
            log.warning("%s", error)

    def _pause(self, pause_s: float, *, asked: bool) -> None:
        if asked:  # the event is set: it would not wait
            self.connection.sleep(pause_s)
        else:
            self.watcher.cancel.wait(pause_s)


def followed_task(
    connection: Connection, project: tuple[str, str], task: TaskDocument, watcher: Watcher
) -> TaskDetails:
    """The task, done.  Raises what it failed with, and `WatchLost`."""
    path = (*project, "tasks", task.id)
    watching = Watching(
        name=f"the {task.kind} of {task.server.name}", look=f"csbs task show {task.id}"
    )
    ended = Follower(connection=connection, watcher=watcher).follow(
        watching,
        lambda: connection.get(TaskDetails, *path),
        lambda: connection.ask("POST", TaskDocument, *path, "cancel"),
    )
    if ended.error is not None:
        raise _failed(ended.error)
    return ended


def followed_job(
    connection: Connection, project: tuple[str, str], job: JobDocument, watcher: Watcher
) -> JobDocument:
    """The job, done.  Raises what it failed with, and `WatchLost`."""
    path = (*project, "repository", "jobs", job.id)
    watching = Watching(
        name=f"the {job.kind}", look="csbs audit list", waiting="waiting for the store"
    )
    ended = Follower(connection=connection, watcher=watcher).follow(
        watching,
        lambda: connection.get(JobDocument, *path),
        lambda: connection.ask("POST", JobDocument, *path, "cancel"),
    )
    if ended.error is not None:
        raise _failed(ended.error)
    return ended


def _failed(fault: Fault) -> CsbsError:
    return told(fault.kind, fault.object, fault.message)
