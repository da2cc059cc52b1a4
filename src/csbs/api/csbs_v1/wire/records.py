"""One run, with all backups that it made, as `checkpoint`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csbs.api.csbs_v1.wire.times import time_text
from csbs.api.csbs_v1.wire.words import PROVIDER_ID, SERVER_TYPE
from csbs.domain.backup import Backup, BackupState
from csbs.domain.policy import Policy

#: A run is as far as the backup that is least far.
_ORDER = (BackupState.PROTECTING, BackupState.DELETING, BackupState.AVAILABLE)

#: What the made-up id of the plan of a backup by hand begins with.
NO_PLAN = "fake_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All backups of one run, and the policy, if one made them and is still there."""

    backups: Sequence[Backup]
    policy: Policy | None = None

    def __post_init__(self) -> None:
        assert self.backups

    @property
    def id(self) -> str:
        """The run's."""
        return self.backups[0].checkpoint_id

    @property
    def plan_id(self) -> str:
        """The policy's; a backup by hand has one that is made up."""
        first = self.backups[0]
        return first.policy_id or f"{NO_PLAN}{first.checkpoint_id}"

    @property
    def created_at(self) -> datetime:
        """When its first backup was asked for."""
        return min(each.created_at for each in self.backups)

    @property
    def status(self) -> str:
        """Of all of them together."""
        states = {BackupState.AVAILABLE if _is_there(each) else each.state for each in self.backups}
        return next((state.value for state in _ORDER if state in states), BackupState.ERROR.value)


def record_body(record: Record) -> dict[str, Any]:
    """The object."""
    first = record.backups[0]
    created_by = "operation-engine" if first.auto_trigger else "manual"
    return {
        "id": record.id,
        "status": record.status,
        "created_at": time_text(record.created_at),
        "project_id": first.project_id,
        # Texts that hold JSON: one client reads them so, and fails at null.
        "resource_graph": "[]",
        "extra_info": json.dumps({"created_by": created_by}),
        "protection_plan": _plan_body(record),
    }


def _plan_body(record: Record) -> dict[str, Any]:
    return {
        "id": record.plan_id,
        "name": _plan_name(record),
        "provider_id": PROVIDER_ID,
        "resources": [
            {
                "id": backup.server_id,
                "type": SERVER_TYPE,
                "name": backup.server_name,
                "extra_info": {},
            }
            for backup in record.backups
        ],
    }


def _plan_name(record: Record) -> str:
    first = record.backups[0]
    if first.policy_id is None:
        return f"server protect plan for {first.server_id}"
    return record.policy.name if record.policy else ""


def _is_there(backup: Backup) -> bool:
    return backup.state in {BackupState.AVAILABLE, BackupState.RESTORING}
