"""Backups of a policy, as it wants them."""

from __future__ import annotations

from csbs.domain.consistency import ApplicationMode, Consistency
from csbs.domain.ids import CheckpointId
from csbs.domain.policy import BoundServer, Policy
from csbs.services.requests import CreateBackup


def backup_request(
    policy: Policy, server: BoundServer, run_id: CheckpointId, *, auto_name: str | None
) -> CreateBackup:
    """One server's backup of a run; with an `auto_name` the schedule began it, not a person."""
    application = policy.application is not ApplicationMode.NO
    return CreateBackup(
        server=server.id,
        name=auto_name,
        consistency=Consistency.APPLICATION if application else Consistency.FILESYSTEM,
        require_consistency=policy.application is ApplicationMode.REQUIRED,
        exclude_disks=server.exclude_disks,
        checkpoint_id=run_id,
        policy_id=policy.id,
        auto_trigger=auto_name is not None,
    )


def auto_name(random_id: str) -> str:
    """Name of a backup that a schedule began (FAQ 3.5: ``autobk_xxxx``)."""
    return f"autobk_{random_id[:8]}"
