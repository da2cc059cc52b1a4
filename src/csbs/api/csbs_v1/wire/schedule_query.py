"""Schedules as Karbor lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from csbs.domain.errors import NotFound
from csbs.domain.policy import Policy, Schedule


@dataclass(eq=False)
class TriggerNotFound(NotFound):
    """No policy of the project has this trigger."""

    trigger: str

    template = "there is no trigger {0.trigger}"


@dataclass(eq=False)
class OperationNotFound(NotFound):
    """No policy of the project has this scheduled operation."""

    operation: str

    template = "there is no scheduled operation {0.operation}"


@dataclass(frozen=True, slots=True)
class ScheduleOf:
    """A schedule with its policy."""

    policy: Policy
    schedule: Schedule


def trigger_sort_values(found: ScheduleOf) -> dict[str, Any]:
    """What triggers are sorted by."""
    schedule = found.schedule
    return {
        "id": schedule.trigger_id,
        "name": schedule.trigger_name,
        "created_at": schedule.starts_at,
    }


def operation_sort_values(found: ScheduleOf) -> dict[str, Any]:
    """What operations are sorted by."""
    schedule = found.schedule
    return {"id": schedule.id, "name": schedule.name, "created_at": schedule.starts_at}
