"""Errors about tasks; see `csbs.domain.errors`."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import Refused


@dataclass(eq=False)
class TaskNotCancellable(Refused):
    """The task cannot be stopped any more, or never could."""

    task: str
    why: str

    template = "task {0.task} cannot be cancelled: {0.why}"


@dataclass(eq=False)
class TaskNotDeletable(Refused):
    """Only tasks that failed are deleted: others say what was done."""

    task: str
    state: str

    template = "task {0.task} is {0.state}: only a task that failed can be deleted"
