"""Bodies of requests.  What is optional may be null too: several clients send nulls."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from csbs.api.csbs_v1.wire.words import PROVIDER_ID, RESOURCE_TYPES
from csbs.api.json_body import Body
from csbs.domain.ids import DiskId
from csbs.domain.policy import DESCRIPTION_SIZE_MAX, NAME_SIZE_MAX
from csbs.domain.recurrence import PATTERN_SIZE_MAX

#: So many questions of one check; each looks at a server.
QUESTIONS_MAX = 500
#: More than a policy may have, so that the service can say how many it may have.
_RESOURCES_MAX = 1000
_VOLUMES_MAX = 1000
_TAGS_MAX = 100


def _number(value: Any) -> Any:
    """Clients send some numbers as texts."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,10}\s*", value):
        return int(value)
    return value


def _flag(value: Any) -> Any:
    """Clients send some truth values as texts, in any case."""
    known = {"true": True, "false": False}
    return known.get(value.strip().lower(), value) if isinstance(value, str) else value


def _provider(value: str) -> str:
    if value != PROVIDER_ID:
        raise ValueError("there is no such provider")
    return value


def _mode(value: int) -> int:
    if value not in {0, 1, 2}:
        raise ValueError("it must be 0, 1 or 2")
    return value


def _resource_type(value: str) -> str:
    if value not in RESOURCE_TYPES:
        raise ValueError(f"it must be one of {', '.join(RESOURCE_TYPES)}")
    return value


def _plain(value: str) -> str:
    if set("<>") & set(value):
        raise ValueError("it may not have < and >")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_SIZE_MAX)]
Description = Annotated[
    str, StringConstraints(max_length=DESCRIPTION_SIZE_MAX), AfterValidator(_plain)
]
Number = Annotated[int, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Provider = Annotated[str, AfterValidator(_provider)]
ConsistencyMode = Annotated[int, BeforeValidator(_number), AfterValidator(_mode)]
ResourceType = Annotated[str, AfterValidator(_resource_type)]
Label = Annotated[str, StringConstraints(max_length=NAME_SIZE_MAX)]


class TagPart(Body):
    """A tag; one client leaves an empty value out."""

    key: Label
    value: Label | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """Key and value."""
        return self.key, self.value or ""


Tags = Annotated[list[TagPart], Field(max_length=_TAGS_MAX)]
#: Where tags are given with an object, there must be one at least.
NewTags = Annotated[Tags, Field(min_length=1)]


# --- back up one server, or ask whether that is possible --------------------------------------


class ExcludingPart(Body):
    """What `extra_info` says that counts."""

    exclude_volumes: Annotated[list[Id], Field(max_length=_VOLUMES_MAX)] | None = None


def excluded(part: ExcludingPart | None) -> frozenset[DiskId]:
    """The disks that are left out."""
    return frozenset(DiskId(each) for each in (part and part.exclude_volumes) or ())


class ProtectPart(Body):
    """A backup by hand."""

    backup_name: Name | None = None
    description: Description | None = None
    incremental: bool | None = None
    resource_type: ResourceType | None = None
    extra_info: ExcludingPart | None = None
    app_consistency: ConsistencyMode | None = None
    tags: NewTags | None = None


class ProtectBody(Body):
    """POST .../resources/{rid}/action."""

    protect: ProtectPart


class ProtectQuestion(Body):
    """Can this server be backed up?"""

    resource_id: Id
    #: Any text: a type that cannot be backed up is answered, not refused.
    resource_type: Label | None = None


class VolumePart(Body):
    """Which disk backup goes to which disk."""

    backup_id: Id
    volume_id: Id


Volumes = Annotated[list[VolumePart], Field(max_length=_VOLUMES_MAX)]


class RestoreTargetPart(Body):
    """Where a question wants to restore to."""

    resource_id: Id
    resource_type: Label | None = None
    volumes: Volumes | None = None


class RestoreQuestion(Body):
    """Can this backup be restored there?"""

    checkpoint_item_id: Id
    target: RestoreTargetPart


class CheckBody(Body):
    """POST .../resources/action: one of the two."""

    check_protectable: Annotated[list[ProtectQuestion], Field(max_length=QUESTIONS_MAX)] | None = (
        None
    )
    check_restorable: Annotated[list[RestoreQuestion], Field(max_length=QUESTIONS_MAX)] | None = (
        None
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> CheckBody:
        if (self.check_protectable is None) == (self.check_restorable is None):
            raise ValueError("it must have one of check_protectable and check_restorable")
        return self


# --- run a policy, restore --------------------------------------------------------------------


class RunParameters(Body):
    """How a policy is run."""

    auto_trigger: bool | None = None
    #: Null means all servers of the policy.
    resources: Annotated[list[Id], Field(max_length=_RESOURCES_MAX)] | None = None


class RunPart(Body):
    """A run of a policy."""

    plan_id: Id
    parameters: RunParameters | None = None


class RunBody(Body):
    """POST .../checkpoints."""

    checkpoint: RunPart


class TargetsPart(Body):
    """Where a restore writes to."""

    server_id: Id
    volumes: Volumes
    resource_type: ResourceType | None = None


class RestoreParameters(Body):
    """How CSBS restores a backup."""

    checkpoint_item_id: Id
    power_on: bool
    targets: TargetsPart


class RestorePart(Body):
    """A restore; without parameters it is Karbor's, of a whole record to where it came from."""

    provider_id: Provider
    checkpoint_id: Id
    parameters: RestoreParameters | None = None
    restore_target: Label | None = None

    @model_validator(mode="before")
    @classmethod
    def _none_is_none(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("parameters") == {}:
            return {**value, "parameters": None}
        return value


class RestoreBody(Body):
    """POST /restores."""

    restore: RestorePart


# --- policies ---------------------------------------------------------------------------------


def _object_of(value: Any) -> Any:
    """The service itself has been seen to write this object as a text."""
    return {} if value == "{}" else value


class CommonPart(Body):
    """What `parameters.common` says that counts."""

    app_consistency: ConsistencyMode | None = None


class ParametersPart(Body):
    """What `parameters` says that counts; all of it is returned as it came."""

    common: CommonPart | None = None


class ResourcePart(Body):
    """A server to be bound."""

    id: Id
    type: ResourceType | None = None
    name: Label | None = None
    extra_info: Annotated[ExcludingPart, BeforeValidator(_object_of)] | None = None


class DefinitionPart(Body):
    """How long backups are kept.  All numbers may be texts."""

    permanent: Flag | None = None
    max_backups: Number | None = None
    retention_duration_days: Number | None = None
    day_backups: Number | None = None
    week_backups: Number | None = None
    month_backups: Number | None = None
    year_backups: Number | None = None
    timezone: Label | None = None


class PropertiesPart(Body):
    """When it runs."""

    pattern: Annotated[str, StringConstraints(max_length=PATTERN_SIZE_MAX)] | None = None


class TriggerPart(Body):
    """What runs it."""

    properties: PropertiesPart | None = None


class OperationPart(Body):
    """One of the scheduled operations; in a new policy more of it is needed."""

    id: Label | None = None
    name: Label | None = None
    description: Description | None = None
    enabled: Flag | None = None
    operation_type: Label | None = None
    operation_definition: DefinitionPart | None = None
    trigger: TriggerPart | None = None
    trigger_id: Label | None = None


Operations = Annotated[list[OperationPart], Field(max_length=10)]
Resources = Annotated[list[ResourcePart], Field(max_length=_RESOURCES_MAX)]


class NewPolicyPart(Body):
    """A new policy."""

    name: Name
    description: Description | None = None
    provider_id: Provider
    parameters: ParametersPart
    resources: Resources
    scheduled_operations: Operations
    tags: NewTags | None = None


class NewPolicyBody(Body):
    """POST /policies."""

    policy: NewPolicyPart


class PolicyChangePart(Body):
    """A change: what is absent stays."""

    name: Name | None = None
    description: Description | None = None
    provider_id: Provider | None = None
    parameters: ParametersPart | None = None
    resources: Resources | None = None
    scheduled_operations: Operations | None = None
    tags: Tags | None = None


class PolicyChangeBody(Body):
    """PUT /policies/{id}."""

    policy: PolicyChangePart


class NewPlanPart(Body):
    """A new plan of Karbor: a policy that never runs by itself."""

    name: Name
    description: Description | None = None
    provider_id: Provider
    parameters: ParametersPart
    resources: Resources


class NewPlanBody(Body):
    """POST /plans."""

    plan: NewPlanPart


class PlanChangePart(Body):
    """A change of a plan."""

    name: Name | None = None
    description: Description | None = None
    parameters: ParametersPart | None = None
    resources: Resources | None = None


class PlanChangeBody(Body):
    """PUT /plans/{id}."""

    plan: PlanChangePart


# --- tags -------------------------------------------------------------------------------------


class TagBody(Body):
    """POST /{kind}/{id}/tags."""

    tag: TagPart


class TagsActionBody(Body):
    """POST /{kind}/{id}/tags/action."""

    action: Label
    tags: NewTags

    @model_validator(mode="after")
    def _known(self) -> TagsActionBody:
        if self.action not in {"create", "delete"}:
            raise ValueError("action must be create or delete")
        return self
