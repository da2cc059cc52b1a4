"""What callers ask for, and how a task keeps it over a crash: plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from csbs.catalog import Transaction
from csbs.domain.backup import Backup, BackupState
from csbs.domain.consistency import Consistency
from csbs.domain.ids import CheckpointId, DiskId, PolicyId
from csbs.domain.restore_plan import RestorePlan
from csbs.domain.task import TaskRequest
from csbs.workflows.back_up_server import LookOn


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBackup:
    """What a caller asks for; `look_on` runs while the disks are still open."""

    server: str
    name: str | None = None
    description: str = ""
    #: Read all that is allocated, whatever is known of changes.
    full: bool = False
    consistency: Consistency = Consistency.FILESYSTEM
    #: Fail rather than reach a lower consistency.
    require_consistency: bool = False
    #: Disks that are left out.
    exclude_disks: frozenset[DiskId] = frozenset()
    #: None: what the settings say.
    limit_bytes_per_s: int | None = None
    look_on: LookOn | None = None
    #: The run that the backup is a part of; None: a run of its own.
    checkpoint_id: CheckpointId | None = None
    policy_id: PolicyId | None = None
    auto_trigger: bool = False
    #: Called in the transaction that has entered the backup: what it raises undoes that, what it
    #: writes is written with it.  For quotas, tags.
    admit: Callable[[Transaction, Backup], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What a caller asks for."""

    power_on: bool
    #: Compare what is known not to differ too.
    compare: bool = False
    #: Go on where the backup is damaged, with zeroes for what is lost.
    allow_holes: bool = False
    #: None: what the settings say.
    limit_bytes_per_s: int | None = None


def keep_backup_request(request: CreateBackup) -> TaskRequest:
    """What a task must know to make the backup; the rest is in the backup's row."""
    assert request.look_on is None, "a command of the caller cannot be kept"
    return {
        "full": request.full,
        "consistency": request.consistency,
        "require_consistency": request.require_consistency,
        "exclude_disks": sorted(request.exclude_disks),
        "limit_bytes_per_s": request.limit_bytes_per_s,
    }


def kept_backup_request(kept: TaskRequest, backup: Backup) -> CreateBackup:
    """The other way."""
    fields: dict[str, Any] = dict(kept)
    return CreateBackup(
        server=backup.server_id,
        name=backup.name,
        full=fields["full"],
        consistency=Consistency(fields["consistency"]),
        require_consistency=fields["require_consistency"],
        exclude_disks=frozenset(DiskId(each) for each in fields["exclude_disks"]),
        limit_bytes_per_s=fields["limit_bytes_per_s"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRestore:
    """A restore as its task keeps it."""

    request: RestoreRequest
    #: Which disks are written, where, and what becomes of them: what the caller agreed to.
    agreed: tuple[tuple[str, str | None, str], ...]
    #: The server ran when the restore began; None: it has not begun.
    found_running: bool | None = None
    #: How often it was begun.
    attempts: int = 0


def written(plan: RestorePlan) -> tuple[tuple[str, str | None, str], ...]:
    """What a person agreed to: which disks, where, and what becomes of them."""
    return tuple(
        (each.target, each.disk.source if each.disk else None, str(each.action))
        for each in plan.written
    )


def keep_restore(kept: KeptRestore) -> TaskRequest:
    """The JSON of it."""
    request = kept.request
    return {
        "power_on": request.power_on,
        "compare": request.compare,
        "allow_holes": request.allow_holes,
        "limit_bytes_per_s": request.limit_bytes_per_s,
        "agreed": [list(each) for each in kept.agreed],
        "found_running": kept.found_running,
        "attempts": kept.attempts,
    }


def kept_restore(kept: TaskRequest) -> KeptRestore:
    """The other way."""
    fields: dict[str, Any] = dict(kept)
    agreed: Sequence[Sequence[Any]] = fields["agreed"]
    return KeptRestore(
        request=RestoreRequest(
            power_on=fields["power_on"],
            compare=fields["compare"],
            allow_holes=fields["allow_holes"],
            limit_bytes_per_s=fields["limit_bytes_per_s"],
        ),
        agreed=tuple((each[0], each[1], each[2]) for each in agreed),
        found_running=fields["found_running"],
        attempts=fields["attempts"],
    )


def keep_deletion(backup: Backup, policy_id: PolicyId | None) -> TaskRequest:
    """What the backup was before, and the policy that it expired by; None: somebody asked."""
    kept: dict[str, object] = {"was": backup.state}
    return kept if policy_id is None else kept | {"policy": policy_id}


def asked_by_somebody(request: TaskRequest) -> TaskRequest:
    """The same deletion, where it is not the policy's alone (any more)."""
    return {name: value for name, value in request.items() if name != "policy"}


def expired_by(request: TaskRequest) -> PolicyId | None:
    """The policy that a deletion is for; None: somebody asked."""
    policy_id = request.get("policy")
    return None if policy_id is None else PolicyId(str(policy_id))


def state_before(request: TaskRequest) -> BackupState:
    """Of the backup, before its deletion was entered."""
    return BackupState(str(request["was"]))
