"""Bodies about policies, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from csbs.api.csbs_v1.wire.bodies import (
    DefinitionPart,
    NewPlanBody,
    NewPolicyBody,
    OperationPart,
    ParametersPart,
    PlanChangeBody,
    PolicyChangeBody,
    ResourcePart,
    TagPart,
    excluded,
)
from csbs.api.csbs_v1.wire.words import SERVER_TYPE, require_server_type
from csbs.api.errors import RequestInvalid
from csbs.api.json_body import read_body, read_json
from csbs.domain.consistency import ApplicationMode
from csbs.domain.ids import ServerId
from csbs.domain.policy import BoundServer, NewPolicy, NewSchedule, PolicyChange
from csbs.domain.tags import Tag, checked_tags

_NO_WORD = {"permanent": False}
_OPERATION = "policy.scheduled_operations.0"


def parse_new_policy(data: bytes) -> NewPolicy:
    """POST /policies.  Raises `RequestInvalid`, `InvalidTag`."""
    given, raw = read_body(NewPolicyBody, data).policy, read_json(data)["policy"]
    operation = _only(given.scheduled_operations)
    if operation is None:
        raise RequestInvalid("policy.scheduled_operations", "it must have one operation")
    _require_complete(operation)
    return NewPolicy(
        name=given.name,
        description=given.description or "",
        parameters=raw["parameters"],
        application=_application(given.parameters),
        servers=_servers(given.resources, raw["resources"]),
        schedules=(_schedule(operation),),
        tags=_tags(given.tags or ()),
    )


def parse_policy_change(data: bytes) -> PolicyChange:
    """PUT /policies/{id}.  An empty object says nothing, as clients send it always."""
    given, raw = read_body(PolicyChangeBody, data).policy, read_json(data)["policy"]
    operation = _only(given.scheduled_operations or ())
    return PolicyChange(
        name=given.name,
        description=given.description,
        parameters=raw.get("parameters") or None,
        application=_application(given.parameters),
        servers=_servers_or_none(given.resources, raw),
        schedules=None if operation is None else (_changed_schedule(operation),),
        tags=None if given.tags is None else _tags(given.tags),
    )


def parse_new_plan(data: bytes) -> NewPolicy:
    """POST /plans."""
    given, raw = read_body(NewPlanBody, data).plan, read_json(data)["plan"]
    return NewPolicy(
        name=given.name,
        description=given.description or "",
        parameters=raw["parameters"],
        application=_application(given.parameters),
        servers=_servers(given.resources, raw["resources"]),
    )


def parse_plan_change(data: bytes) -> PolicyChange:
    """PUT /plans/{id}."""
    given, raw = read_body(PlanChangeBody, data).plan, read_json(data)["plan"]
    return PolicyChange(
        name=given.name,
        description=given.description,
        parameters=raw.get("parameters") or None,
        application=_application(given.parameters),
        servers=_servers_or_none(given.resources, raw),
    )


def _only(operations: Sequence[OperationPart]) -> OperationPart | None:
    if len(operations) > 1:
        raise RequestInvalid("policy.scheduled_operations", "it must have one operation")
    for operation in operations:
        if operation.operation_type not in {None, "backup"}:
            raise RequestInvalid(f"{_OPERATION}.operation_type", "it must be backup")
        return operation
    return None


def _require_complete(operation: OperationPart) -> None:
    properties = operation.trigger.properties if operation.trigger else None
    needed = {
        "enabled": operation.enabled,
        "operation_type": operation.operation_type,
        "operation_definition": operation.operation_definition,
        "trigger.properties.pattern": properties and properties.pattern,
    }
    for place, value in needed.items():
        if value is None:
            raise RequestInvalid(f"{_OPERATION}.{place}", "it is required")


def _schedule(operation: OperationPart) -> NewSchedule:
    properties = operation.trigger.properties if operation.trigger else None
    return NewSchedule(
        name=operation.name,
        description=operation.description,
        enabled=operation.enabled,
        retention=_retention(operation.operation_definition),
        pattern=(properties.pattern if properties else None) or None,
        zone_required=_names_periods(operation.operation_definition),
    )


def _changed_schedule(operation: OperationPart) -> NewSchedule:
    """Retention of only `permanent: false` says nothing: clients always send that."""
    schedule = _schedule(operation)
    return replace(schedule, retention={}) if schedule.retention == _NO_WORD else schedule


def _names_periods(definition: DefinitionPart | None) -> bool:
    if definition is None:
        return False
    periods = (
        definition.day_backups,
        definition.week_backups,
        definition.month_backups,
        definition.year_backups,
    )
    return any(each not in {None, 0, -1} for each in periods)


def _retention(definition: DefinitionPart | None) -> Mapping[str, object]:
    given = definition.model_dump(exclude_none=True) if definition else {}
    if "retention_duration_days" in given:
        given["max_age_days"] = given.pop("retention_duration_days")
    return {
        name: None if value == -1 and name != "permanent" else value
        for name, value in given.items()
    }


def _application(parameters: ParametersPart | None) -> ApplicationMode:
    common = parameters.common if parameters else None
    return ApplicationMode(common.app_consistency or 0 if common else 0)


def _servers_or_none(
    resources: Sequence[ResourcePart] | None, raw: Mapping[str, Any]
) -> tuple[BoundServer, ...] | None:
    return None if resources is None else _servers(resources, raw["resources"])


def _servers(
    resources: Sequence[ResourcePart], raw: Sequence[Mapping[str, Any]]
) -> tuple[BoundServer, ...]:
    servers = []
    for resource, given in zip(resources, raw, strict=True):
        extra = given.get("extra_info")
        servers.append(
            BoundServer(
                id=ServerId(resource.id),
                kind=require_server_type(resource.type or SERVER_TYPE),
                name=resource.name or "",
                exclude_disks=excluded(resource.extra_info),
                extra=extra if isinstance(extra, dict) else {},
            )
        )
    return tuple(servers)


def _tags(parts: Sequence[TagPart]) -> tuple[Tag, ...]:
    return checked_tags(part.pair for part in parts)
