"""Queries about backups and their disks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import backups, disk_backups
from csbs.domain.backup import Backup, BackupState, DiskBackup, FailedOperation, Mode
from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    DiskId,
    PolicyId,
    ProjectId,
    ServerId,
    TrackingName,
)
from csbs.domain.server import ServerRef


def add(transaction: Transaction, backup: Backup) -> None:
    """Enters a new backup with its disks."""
    transaction.execute(insert(backups).values(_values(backup)))
    _add_disks(transaction, backup)


def add_all(transaction: Transaction, new: Sequence[Backup]) -> None:
    """Enters new backups whose disks are not known yet."""
    assert not any(each.disks for each in new)
    if new:
        transaction.execute(insert(backups), [_values(each) for each in new])


def save(transaction: Transaction, backup: Backup) -> None:
    """Writes the backup anew, with its disks.  Its project never changes."""
    transaction.execute(
        update(backups)
        .where(backups.c.project_id == backup.project_id, backups.c.id == backup.id)
        .values(_values(backup))
    )
    transaction.execute(delete(disk_backups).where(disk_backups.c.backup_id == backup.id))
    _add_disks(transaction, backup)


def remove(transaction: Transaction, project_id: ProjectId, backup_id: BackupId) -> None:
    """Forgets the backup and its disks."""
    transaction.execute(
        delete(backups).where(backups.c.project_id == project_id, backups.c.id == backup_id)
    )


def get(transaction: Transaction, project_id: ProjectId, backup_id: BackupId) -> Backup:
    """The backup.  Raises `BackupNotFound`."""
    found = _load(transaction, backups.c.project_id == project_id, backups.c.id == backup_id)
    if not found:
        raise BackupNotFound(backup_id)
    return found[0]


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Backup]:
    """All backups of the project, oldest first."""
    return _load(transaction, backups.c.project_id == project_id)


def of_server(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> list[Backup]:
    """All backups of one server, oldest first."""
    return _load(transaction, backups.c.project_id == project_id, backups.c.server_id == server_id)


def of_run(
    transaction: Transaction, project_id: ProjectId, checkpoint_id: CheckpointId
) -> list[Backup]:
    """The backups that are left of one run, oldest first."""
    return _load(
        transaction, backups.c.project_id == project_id, backups.c.checkpoint_id == checkpoint_id
    )


def of_policy(transaction: Transaction, project_id: ProjectId, policy_id: PolicyId) -> list[Backup]:
    """The backups that are left of all runs of the policy, oldest first."""
    return _load(transaction, backups.c.project_id == project_id, backups.c.policy_id == policy_id)


def unsettled(transaction: Transaction, project_id: ProjectId) -> list[ServerRef]:
    """Servers with backups that are being made, restored or deleted."""
    states = (BackupState.PROTECTING, BackupState.RESTORING, BackupState.DELETING)
    rows = transaction.execute(
        select(backups.c.server_id, func.min(backups.c.server_name).label("name"))
        .where(backups.c.project_id == project_id, backups.c.state.in_(states))
        .group_by(backups.c.server_id)
    ).all()
    return [ServerRef(ServerId(row.server_id), row.name) for row in rows]


def restorable_keys(transaction: Transaction, project_id: ProjectId) -> list[str]:
    """Manifest keys of all backups that can be restored, or are being restored."""
    states = (BackupState.AVAILABLE, BackupState.RESTORING)
    return list(
        transaction.scalars(
            select(backups.c.manifest_key).where(
                backups.c.project_id == project_id, backups.c.state.in_(states)
            )
        )
    )


def set_state(
    transaction: Transaction, project_id: ProjectId, backup_id: BackupId, state: BackupState
) -> Backup:
    """The backup in its new state.  Raises `BackupNotFound`, `IllegalTransition`."""
    backup = get(transaction, project_id, backup_id).to(state)
    transaction.execute(
        update(backups)
        .where(backups.c.project_id == project_id, backups.c.id == backup_id)
        .values(state=state)
    )
    return backup


def set_storage(
    transaction: Transaction,
    project_id: ProjectId,
    new: Iterable[tuple[BackupId, DiskId, int]],
) -> None:
    """Sets what disks' parts add to the billed storage, in bytes, after a neighbour was deleted."""
    own = select(backups.c.id).where(backups.c.project_id == project_id)
    for backup_id, disk_id, storage_bytes in new:
        transaction.execute(
            update(disk_backups)
            .where(
                disk_backups.c.backup_id == backup_id,
                disk_backups.c.disk_id == disk_id,
                disk_backups.c.backup_id.in_(own),
            )
            .values(storage_bytes=storage_bytes)
        )


def _values(backup: Backup) -> dict[str, Any]:
    values = asdict(replace(backup, disks=()))
    del values["disks"]
    return values


def _add_disks(transaction: Transaction, backup: Backup) -> None:
    rows = [
        asdict(disk) | {"backup_id": backup.id, "position": position}
        for position, disk in enumerate(backup.disks)
    ]
    if rows:
        transaction.execute(insert(disk_backups), rows)


def _load(transaction: Transaction, *conditions: Any) -> list[Backup]:
    rows = transaction.execute(
        select(backups).where(*conditions).order_by(backups.c.created_at, backups.c.id)
    ).all()
    parts = transaction.execute(
        select(disk_backups)
        .join(backups)
        .where(*conditions)
        .order_by(disk_backups.c.backup_id, disk_backups.c.position)
    ).all()
    disks: dict[str, list[DiskBackup]] = defaultdict(list)
    for part in parts:
        disks[part.backup_id].append(_disk_backup(part))
    return [_backup(row, disks[row.id]) for row in rows]


def _backup(row: Row[Any], disks: Sequence[DiskBackup]) -> Backup:
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    return Backup(
        **{
            **values,
            "state": BackupState(row.state),
            "tracking": TrackingName(row.tracking),
            "consistency_asked": Consistency(row.consistency_asked),
            "consistency_reached": row.consistency_reached and Consistency(row.consistency_reached),
            "freeze": FreezeEvidence(**row.freeze) if row.freeze else None,
            "fail_op": row.fail_op and FailedOperation(row.fail_op),
            "disks": tuple(disks),
        }
    )


def _disk_backup(row: Row[Any]) -> DiskBackup:
    values = dict(row._mapping)  # noqa: SLF001  its public name in SQLAlchemy
    del values["backup_id"], values["position"]
    return DiskBackup(**(values | {"mode": Mode(row.mode)}))
