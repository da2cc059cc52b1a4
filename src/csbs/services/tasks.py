"""Tasks: what was executed, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, tasks
from csbs.catalog.tasks import TaskStep
from csbs.domain.errors import TaskNotFound
from csbs.domain.ids import ProjectId
from csbs.domain.lookup import PREFIX_SIZE_MIN
from csbs.domain.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskService:
    """What a caller may ask for about tasks."""

    catalog: Catalog
    project_id: ProjectId

    def list_all(self) -> list[Task]:
        """All tasks, oldest first."""
        with self.catalog.transaction() as transaction:
            return tasks.of_project(transaction, self.project_id)

    def find(self, wanted: str) -> tuple[Task, Sequence[TaskStep]]:
        """The task with this id or unique prefix, and its journal.  Raises `TaskNotFound`."""
        found = [
            each
            for each in self.list_all()
            if each.id == wanted
            or (len(wanted) >= PREFIX_SIZE_MIN and each.id.startswith(wanted.lower()))
        ]
        if len(found) != 1:
            raise TaskNotFound(wanted)
        with self.catalog.transaction() as transaction:
            return found[0], tasks.steps(transaction, self.project_id, found[0].id)
