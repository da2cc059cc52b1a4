"""What carrying out a kind of task is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from csbs.domain.deletion_plan import DeletionPlan
from csbs.domain.task import Task, TaskResult
from csbs.services.restores import RestoreDone
from csbs.workflows.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to carry a task out."""

    task: Task
    run: Run
    #: A process that died had begun it.
    resumed: bool
    #: The cause behind an error: a stop of the service looks like a cancel.
    cause: Callable[[Exception], Exception]


def _nothing(*_done: object, **_how: object) -> None:
    """Where nobody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What is kept of what a task did: as the API shows it, which lies above."""

    #: What was done, and whether the server was started.
    restored: Callable[[RestoreDone, bool], TaskResult | None] = _nothing
    deleted: Callable[[DeletionPlan], TaskResult | None] = _nothing


#: Carries the attempt out; the server's and the repository's locks are held.
CarryOut = Callable[[Attempt], None]


class Work(Protocol):
    """One kind of task."""

    def let_go(self, task: Task) -> None:
        """Ends at the server what a process that died in the task held there, and nobody needs.

        The server's lock is held; the repository may be out of reach.  May be repeated.
        """

    def ready(self, task: Task, cancelled: Callable[[], bool]) -> AbstractContextManager[CarryOut]:
        """Holds the repository for the task during the body.

        Raises `RepositoryLocked` while it cannot be had, and what opening it raises.
        """

    def fail(self, task: Task, error: Exception) -> None:
        """Makes the backup and the server follow the failure; may be repeated."""
