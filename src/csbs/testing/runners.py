"""Runners for tests."""

from __future__ import annotations

from csbs.domain.task import Task
from csbs.workflows.runner import Control, Execute


class InlineRunner:
    """See `TaskRunner`; carries each task out in the thread that starts it."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.control = Control()

    def start(self, task: Task) -> None:
        """Carries it out."""
        self._execute(task.project_id, task.id, self.control)

    def cancel(self, task: Task) -> None:
        """The task looks at the catalog once a second."""
