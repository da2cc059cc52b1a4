"""Karbor's triggers and scheduled operations: parts of policies, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request

from csbs.api.context import Changes, InProject, Reads
from csbs.api.csbs_v1.routes.request import ListQuery, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.codes import NotSupported
from csbs.api.csbs_v1.wire.policies import operation_body, trigger_body
from csbs.api.csbs_v1.wire.queries import everything, page_of
from csbs.api.csbs_v1.wire.schedule_query import (
    OperationNotFound,
    ScheduleOf,
    TriggerNotFound,
    operation_sort_values,
    trigger_sort_values,
)

router = csbs_router()


@router.get("/triggers")
def list_triggers(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the triggers of all policies."""
    page = page_of(_schedules(here), query, values=trigger_sort_values, wanted=everything)
    return linked(request, "triggers", page, [trigger_body(each.schedule) for each in page.rows])


@router.post("/triggers")
def create_trigger(_here: Changes) -> None:
    """A trigger is made with its policy."""
    raise NotSupported("A trigger without a policy")


@router.get("/triggers/{trigger_id}")
def show_trigger(here: Reads, trigger_id: str) -> dict[str, Any]:
    """One trigger."""
    return {"trigger_info": trigger_body(_by_trigger(here, trigger_id).schedule)}


@router.put("/triggers/{trigger_id}")
def change_trigger(here: Changes, trigger_id: str) -> None:
    """A trigger is changed with its policy."""
    _by_trigger(here, trigger_id)
    raise NotSupported("Changing a trigger without its policy")


@router.delete("/triggers/{trigger_id}")
def delete_trigger(here: Changes, trigger_id: str) -> None:
    """A trigger goes with its policy."""
    _by_trigger(here, trigger_id)
    raise NotSupported("Deleting a trigger without its policy")


@router.get("/scheduled_operations")
def list_operations(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the operations of all policies."""
    page = page_of(_schedules(here), query, values=operation_sort_values, wanted=everything)
    bodies = [operation_body(each.policy, each.schedule) for each in page.rows]
    return linked(request, "operations", page, bodies)


@router.post("/scheduled_operations")
def create_operation(_here: Changes) -> None:
    """An operation is made with its policy."""
    raise NotSupported("A scheduled operation without a policy")


@router.get("/scheduled_operations/{operation_id}")
def show_operation(here: Reads, operation_id: str) -> dict[str, Any]:
    """One operation."""
    found = _by_operation(here, operation_id)
    return {"scheduled_operation": operation_body(found.policy, found.schedule)}


@router.delete("/scheduled_operations/{operation_id}")
def delete_operation(here: Changes, operation_id: str) -> None:
    """An operation goes with its policy."""
    _by_operation(here, operation_id)
    raise NotSupported("Deleting a scheduled operation without its policy")


def _schedules(here: InProject) -> Iterator[ScheduleOf]:
    for policy in here.app.protection.policies.list_all():
        for schedule in policy.schedules:
            yield ScheduleOf(policy, schedule)


def _by_trigger(here: InProject, trigger_id: str) -> ScheduleOf:
    for each in _schedules(here):
        if each.schedule.trigger_id == trigger_id:
            return each
    raise TriggerNotFound(trigger_id[:64])


def _by_operation(here: InProject, operation_id: str) -> ScheduleOf:
    for each in _schedules(here):
        if each.schedule.id == operation_id:
            return each
    raise OperationNotFound(operation_id[:64])
