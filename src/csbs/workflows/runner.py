"""The port to what carries out tasks behind the caller's back.

A service enters a task into the catalog, hands it over, and returns.  A runner keeps nothing that
the catalog has not: a task that is open there and was lost by a runner is begun again at the next
start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from csbs.domain.errors import Refused
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.task import Task


@dataclass(frozen=True, slots=True)
class Control:
    """How a runner reaches a task that is being carried out."""

    #: Somebody asked for a stop of this task, or the service stops.
    cancel: threading.Event = field(default_factory=threading.Event)
    #: The service stops: what can be broken off is broken off.
    stopping: threading.Event = field(default_factory=threading.Event)


#: Carries out one task to its end, whatever that is; raises nothing.
Execute = Callable[[ProjectId, TaskId, Control], None]


class TaskRunner(Protocol):
    """Carries out tasks, several at once, those of one server one after the other."""

    def start(self, task: Task) -> None:
        """Takes a task over that was entered; returns at once.  May be repeated.

        Raises nothing where a service runs: a task that could not be taken over is given again.
        """

    def cancel(self, task: Task) -> None:
        """Tells a task that somebody asked for its stop, as the catalog says; returns at once."""


class Runner(TaskRunner, Protocol):
    """A `TaskRunner` as who runs the service sees it."""

    def launch(self) -> None:
        """Begins to work."""

    def forget_ended(self) -> None:
        """Deletes what is kept of tasks that have ended: they are in the catalog."""

    def stop(self, *, timeout_s: float) -> bool:
        """Breaks off what can be, and waits for it; whether all came to an end in time."""


@dataclass(eq=False)
class NoService(Refused):
    """Nobody is there who would carry out a task later."""

    task: str

    template = "task {0.task} needs a running service (`csbs serve`)"


class NoRunner:
    """Where no service runs: local commands carry their work out themselves."""

    def start(self, task: Task) -> None:
        """Refuses."""
        raise NoService(task.id)

    def cancel(self, task: Task) -> None:
        """The process that carries it out looks at the catalog once a second."""
