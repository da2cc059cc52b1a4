"""Errors about tasks; see `csbs.domain.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from csbs.domain.errors import CsbsError, Refused


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


def class_named(name: str) -> type[CsbsError]:
    """The error class that a task remembers by name; `CsbsError` for what is no error of ours."""
    return next((each for each in _classes(CsbsError) if each.__name__ == name), CsbsError)


def _classes(root: type[CsbsError]) -> Iterator[type[CsbsError]]:
    yield root
    for each in root.__subclasses__():
        yield from _classes(each)
