"""Tasks as Karbor's restores and operation logs: shapes, filters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from csbs.api.csbs_v1.wire.causes import cause
from csbs.api.csbs_v1.wire.codes import code_of
from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.restoring import RESTORE_STATUS
from csbs.api.csbs_v1.wire.times import time_text
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.catalog.task_lists import TaskFilter, TaskList
from csbs.domain.backup import Backup
from csbs.domain.errors import NotFound
from csbs.domain.ids import TaskId
from csbs.domain.task import Task, TaskKind, TaskState

_TYPES = {TaskKind.BACKUP: "protect", TaskKind.RESTORE: "restore", TaskKind.DELETION: "delete"}

#: What is at work, and what it is then, in Karbor's words for each kind.
_AT_WORK = {
    TaskKind.BACKUP: "protecting",
    TaskKind.RESTORE: "in_progress",
    TaskKind.DELETION: "deleting",
}
_DONE = {
    TaskKind.BACKUP: "available",
    TaskKind.RESTORE: "success",
    TaskKind.DELETION: "deleted",
}


@dataclass(eq=False)
class RestoreNotFound(NotFound):
    """No restore of the project has this id."""

    restore: str

    template = "there is no restore {0.restore}"


@dataclass(eq=False)
class VerificationNotFound(NotFound):
    """No verification has this id."""

    verification: str

    template = "there is no verification {0.verification}"


def operation_log_body(task: Task, backup: Backup | None) -> dict[str, Any]:
    """A task as `operation_log`; `backup` is None once it is deleted."""
    is_restore = task.kind is TaskKind.RESTORE
    extra = {
        "checkpoint_item_id": task.backup_id,
        "resource_id": task.server_id,
        "resource_name": task.server_name,
        "progress": task.progress_percent,
        "done_bytes": task.done_bytes,
        "total_bytes": task.total_bytes,
        "bytes_per_s": task.bytes_per_s,
    }
    return {
        "id": task.id,
        "project_id": task.project_id,
        "operation_type": _TYPES[task.kind],
        "status": operation_status(task),
        "checkpoint_id": backup.checkpoint_id if backup else None,
        "plan_id": backup.policy_id if backup else None,
        "provider_id": PROVIDER_ID,
        "restore_id": task.id if is_restore else None,
        "scheduled_operation_id": None,
        "started_at": time_text(task.started_at or task.created_at),
        "ended_at": time_text(task.ended_at),
        "error_info": _error_info(task),
        "extra_info": json.dumps(extra),
    }


def _status(kind: TaskKind, state: TaskState) -> str:
    if state is TaskState.DONE:
        return _DONE[kind]
    if state is TaskState.RUNNING:
        return _AT_WORK[kind]
    return state.value


#: How far a task is, in the words of its kind.
_STATUS = {(kind, state): _status(kind, state) for kind in TaskKind for state in TaskState}
OPERATIONS = TaskList(words=_STATUS)
RESTORES = TaskList(kind=TaskKind.RESTORE, words=_STATUS)


def operation_status(task: Task) -> str:
    """How far a task is, in the words of its kind."""
    return _STATUS[task.kind, task.state]


def parse_operation_filter(query: Query) -> TaskFilter:
    """Filters of `operation_logs`."""
    query.flag("all_tenants")
    status, operation = query.text("status"), query.text("operation_type")
    restore = query.text("restore_id")
    any_of = [
        (kind, state)
        for (kind, state), word in _STATUS.items()
        if (status is None or word == status)
        and (operation is None or _TYPES[kind] == operation)
        and (restore is None or kind is TaskKind.RESTORE)
    ]
    return TaskFilter(
        task_id=None if restore is None else TaskId(restore),
        any_of=None if len(any_of) == len(_STATUS) else any_of,
    )


def parse_restore_filter(query: Query) -> TaskFilter:
    """Filters of `restores`."""
    query.flag("all_tenants")
    status = query.text("status")
    if status is None:
        return TaskFilter()
    states = [state for state, word in RESTORE_STATUS.items() if word == status]
    return TaskFilter(any_of=[(TaskKind.RESTORE, state) for state in states])


def _error_info(task: Task) -> str | None:
    if not task.error_message:
        return None
    return json.dumps(
        {"code": code_of(task.error_code), "message": cause(task.error_code, task.error_message)}
    )
