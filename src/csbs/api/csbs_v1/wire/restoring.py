"""What a restore is asked for, and `restore` as the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csbs.api.csbs_v1.wire.bodies import RestoreBody, VolumePart
from csbs.api.csbs_v1.wire.causes import cause
from csbs.api.csbs_v1.wire.words import PROVIDER_ID, SERVER_TYPE, TypeNotRestored
from csbs.api.json_body import read_body, read_json
from csbs.domain.ids import BackupId, CheckpointId, DiskId, ServerId
from csbs.domain.restore_targets import DiskTarget
from csbs.domain.task import Task, TaskState

#: How far a restore is, in Karbor's words.
RESTORE_STATUS = {
    TaskState.WAITING: "in_progress",
    TaskState.RUNNING: "in_progress",
    TaskState.DONE: "success",
    TaskState.ERROR: "fail",
    TaskState.CANCELLED: "fail",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRestore:
    """What a caller wants restored, and where to.  Without `backup_id`: a whole run, in place."""

    checkpoint_id: CheckpointId
    power_on: bool
    backup_id: BackupId | None
    server_id: ServerId | None
    targets: Sequence[DiskTarget] | None
    #: As they came, for the answer.
    parameters: Mapping[str, Any]
    restore_target: str


def parse_restore(data: bytes) -> StartRestore:
    """POST /restores."""
    wanted, raw = read_body(RestoreBody, data).restore, read_json(data)["restore"]
    parameters = wanted.parameters
    if parameters is not None and parameters.targets.resource_type not in {None, SERVER_TYPE}:
        raise TypeNotRestored(str(parameters.targets.resource_type))
    return StartRestore(
        checkpoint_id=CheckpointId(wanted.checkpoint_id),
        power_on=parameters.power_on if parameters else True,
        backup_id=BackupId(parameters.checkpoint_item_id) if parameters else None,
        server_id=ServerId(parameters.targets.server_id) if parameters else None,
        targets=disk_targets(parameters.targets.volumes) if parameters else None,
        parameters=raw.get("parameters") or {},
        restore_target=wanted.restore_target or "",
    )


def disk_targets(volumes: Sequence[VolumePart] | None) -> tuple[DiskTarget, ...] | None:
    """Which disk backup goes where; None: not said."""
    if volumes is None:
        return None
    return tuple(DiskTarget(each.backup_id, DiskId(each.volume_id)) for each in volumes)


def restore_body(
    task: Task,
    checkpoint_id: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    restore_target: str = "",
) -> dict[str, Any]:
    """The object; what was asked for is known to the caller who asked only."""
    if parameters is None:
        parameters = {
            "checkpoint_item_id": task.backup_id,
            "power_on": task.request.get("power_on", True),
            "targets": {"server_id": task.server_id},
        }
    why = cause(task.error_code, task.error_message)
    return {
        "id": task.id,
        "status": restore_status(task),
        "project_id": task.project_id,
        "provider_id": PROVIDER_ID,
        "checkpoint_id": checkpoint_id,
        "restore_target": restore_target,
        "parameters": dict(parameters),
        "resources_status": {},
        "resources_reason": {f"{SERVER_TYPE}#{task.server_id}": why} if why else {},
    }


def restore_status(task: Task) -> str:
    """How far it is, in Karbor's words."""
    return RESTORE_STATUS[task.state]
