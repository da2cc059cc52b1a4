"""Runs of policies that the scheduler began, and each server's part of them.

    schedule: due ──► run: claimed ──► dispatched ──► ended
                      run: skipped     (nothing is begun: the next run is near)

    server:   waiting ──► begun      its backup and task are entered
                      ──► failed     it was refused: the backup says why
                      ──► dropped    it was unbound, or the policy switched off, before that
              merged                 a former run of the policy still waits for this server

A run is claimed with all its servers, and with the time at which its schedule is due again, in one
transaction: whoever dies leaves all of that, or nothing.  Likewise a server's part leaves `waiting`
in the transaction that enters its backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from csbs.domain.due_run import RunKind
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, ProjectId, ServerId, TaskId


class RunState(StrEnum):
    """How far a run of a policy is."""

    CLAIMED = "claimed"
    #: No server waits for its turn any more.
    DISPATCHED = "dispatched"
    #: And all its backups have ended.
    ENDED = "ended"
    SKIPPED = "skipped"


class ServerRunState(StrEnum):
    """How far one server of a run is."""

    WAITING = "waiting"
    BEGUN = "begun"
    FAILED = "failed"
    DROPPED = "dropped"
    MERGED = "merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRun:
    """One due time of a schedule; there is never a second with the same `schedule_id`, `due_at`."""

    #: Of its backups too: `Backup.checkpoint_id`.
    id: CheckpointId
    project_id: ProjectId
    policy_id: PolicyId
    schedule_id: str
    due_at: datetime
    kind: RunKind
    #: As `DueRun` has it.
    note: str
    state: RunState
    claimed_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRun:
    """One server of a run.  Of a server and a policy at most one is `waiting`."""

    run_id: CheckpointId
    server_id: ServerId
    project_id: ProjectId
    policy_id: PolicyId
    #: Not before this instant.
    begins_at: datetime
    state: ServerRunState
    backup_id: BackupId | None = None
    task_id: TaskId | None = None
