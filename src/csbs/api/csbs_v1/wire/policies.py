"""A policy as `policy` of CSBS, and as the plan, trigger and scheduled operation of Karbor."""

from __future__ import annotations

from typing import Any

from csbs.api.csbs_v1.wire.items import tags_body
from csbs.api.csbs_v1.wire.times import time_text, trigger_time_text
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.domain.policy import BoundServer, Policy, Retention, Schedule

#: Both Terraform providers wait for just this word; whether a policy runs by itself is said by
#: `enabled` of its operations.
_STATUS = "suspended"


def policy_body(policy: Policy) -> dict[str, Any]:
    """The object of CSBS."""
    return {
        "id": policy.id,
        "name": policy.name,
        "description": policy.description,
        "status": _STATUS,
        "provider_id": PROVIDER_ID,
        "project_id": policy.project_id,
        "created_at": time_text(policy.created_at),
        "updated_at": time_text(policy.updated_at),
        "parameters": dict(policy.parameters),
        "tags": tags_body(policy.tags),
        "resources": [_resource_body(server) for server in policy.servers],
        "scheduled_operations": [operation_body(policy, each) for each in policy.schedules],
    }


def plan_body(policy: Policy) -> dict[str, Any]:
    """The same object as Karbor knows it: a plan has no times of its own."""
    return {
        "id": policy.id,
        "name": policy.name,
        "description": policy.description,
        "status": _STATUS,
        "provider_id": PROVIDER_ID,
        "project_id": policy.project_id,
        "created_at": time_text(policy.created_at),
        "parameters": dict(policy.parameters),
        "resources": [_resource_body(server) for server in policy.servers],
    }


def operation_body(policy: Policy, schedule: Schedule) -> dict[str, Any]:
    """One of the policy's `scheduled_operations`."""
    return {
        "id": schedule.id,
        "name": schedule.name,
        "description": schedule.description,
        "enabled": schedule.enabled,
        "operation_type": "backup",
        "trigger_id": schedule.trigger_id,
        "operation_definition": {
            **retention_body(schedule.retention),
            "plan_id": policy.id,
            "provider_id": PROVIDER_ID,
        },
        "trigger": trigger_body(schedule),
    }


def trigger_body(schedule: Schedule) -> dict[str, Any]:
    """When it runs."""
    return {
        "id": schedule.trigger_id,
        "name": schedule.trigger_name,
        "type": "time",
        "properties": {
            "pattern": schedule.pattern,
            "start_time": trigger_time_text(schedule.starts_at),
            "format": "ical",
        },
    }


def retention_body(retention: Retention) -> dict[str, Any]:
    """How long backups are kept.

    The first two are always there: a client reads a missing one as 0, and may send that back.
    """
    body: dict[str, Any] = {
        "permanent": retention.permanent,
        "max_backups": _number(retention.max_backups),
        "retention_duration_days": _number(retention.max_age_days),
    }
    for name in ("day_backups", "week_backups", "month_backups", "year_backups"):
        value = getattr(retention, name)
        if value is not None:
            body[name] = value
    if retention.timezone:
        body["timezone"] = retention.timezone
    return body


def _number(limit: int | None) -> int:
    return -1 if limit is None else limit


def _resource_body(server: BoundServer) -> dict[str, Any]:
    return {
        "id": server.id,
        "type": server.kind,
        "name": server.name,
        "extra_info": dict(server.extra),
    }
