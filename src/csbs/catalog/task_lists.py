"""Lists of tasks, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, false, func, or_

from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import Condition, Source, page_of_ids
from csbs.catalog.tables import UtcDateTime, tasks
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.listing import Listing, Slice
from csbs.domain.task import TaskKind, TaskState

#: What a task is, and how far it is.
KindAndState = tuple[TaskKind, TaskState]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks are meant; None: any."""

    task_id: TaskId | None = None
    any_of: Collection[KindAndState] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """A list of tasks."""

    #: All of its tasks are of this kind; None: of any.
    kind: TaskKind | None = None
    #: What `status` sorts by, for each kind and state; else by state.
    words: Mapping[KindAndState, str] | None = None


ALL_TASKS = TaskList()


def page(
    transaction: Transaction,
    project_id: ProjectId,
    wanted: TaskFilter,
    listing: Listing,
    listed: TaskList = ALL_TASKS,
) -> Slice[TaskId]:
    """Ids on the page.  Raises `MarkerUnknown`."""
    scope: list[Condition] = [tasks.c.project_id == project_id]
    if listed.kind is not None:
        scope.append(tasks.c.kind == listed.kind)
    status: ColumnElement[str] = tasks.c.state
    if listed.words is not None:
        words = ((_is(*each), word) for each, word in listed.words.items())
        status = case(*words, else_=tasks.c.state)
    source = Source(
        table=tasks,
        id=tasks.c.id,
        scope=scope,
        keys={
            "created_at": tasks.c.created_at,
            "updated_at": func.coalesce(
                tasks.c.ended_at, tasks.c.started_at, tasks.c.created_at, type_=UtcDateTime()
            ),
            "status": status,
        },
    )
    found = page_of_ids(transaction, source, _conditions(wanted), listing)
    return found.map(lambda ids: [TaskId(each) for each in ids])


def _conditions(wanted: TaskFilter) -> list[Condition]:
    found: list[Condition] = []
    if wanted.task_id is not None:
        found.append(tasks.c.id == wanted.task_id)
    if wanted.any_of is not None:
        found.append(or_(false(), *(_is(*each) for each in sorted(wanted.any_of))))
    return found


def _is(kind: TaskKind, state: TaskState) -> Condition:
    return and_(tasks.c.kind == kind, tasks.c.state == state)
