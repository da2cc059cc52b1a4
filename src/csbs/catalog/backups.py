"""Queries about backups and their disks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, union, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import in_order
from csbs.catalog.lookup import begins, is_named
from csbs.catalog.tables import backups, disk_backups
from csbs.domain.backup import (
    UNSETTLED_STATES,
    Backup,
    BackupState,
    DiskBackup,
    FailedOperation,
    Mode,
)
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


def by_ids(
    transaction: Transaction, project_id: ProjectId, ids: Sequence[BackupId]
) -> list[Backup]:
    """Those of these backups that are there, in this order."""
    found = _load(transaction, backups.c.project_id == project_id, backups.c.id.in_(ids))
    return in_order(found, ids)


def of_runs(
    transaction: Transaction, project_id: ProjectId, runs: Sequence[CheckpointId]
) -> list[Backup]:
    """The backups that are left of these runs, oldest first."""
    return _load(transaction, backups.c.project_id == project_id, backups.c.checkpoint_id.in_(runs))


def states_of_runs(
    transaction: Transaction, project_id: ProjectId, runs: Sequence[CheckpointId]
) -> dict[CheckpointId, dict[BackupState, int]]:
    """How many backups are left of each of these runs, by state; of none: it is missing."""
    rows = transaction.execute(
        select(backups.c.checkpoint_id, backups.c.state, func.count().label("number"))
        .where(backups.c.project_id == project_id, backups.c.checkpoint_id.in_(runs))
        .group_by(backups.c.checkpoint_id, backups.c.state)
        .order_by(backups.c.state)
    )
    found: dict[CheckpointId, dict[BackupState, int]] = {}
    for row in rows:
        found.setdefault(CheckpointId(row.checkpoint_id), {})[BackupState(row.state)] = row.number
    return found


def of_project(transaction: Transaction, project_id: ProjectId) -> list[Backup]:
    """All backups of the project, oldest first."""
    return _load(transaction, backups.c.project_id == project_id)


def is_one_begun(transaction: Transaction, project_id: ProjectId) -> bool:
    """Whether the project has a backup that may have written to its repository."""
    begun = (backups.c.project_id == project_id, backups.c.manifest_key != "")
    return transaction.scalar(select(backups.c.id).where(*begun).limit(1)) is not None


def count(transaction: Transaction, project_id: ProjectId) -> int:
    """How many backups count: one that is being deleted is as good as gone."""
    query = select(func.count()).select_from(backups).where(*_counted(project_id))
    return int(transaction.scalar(query) or 0)


def storage_bytes(transaction: Transaction, project_id: ProjectId) -> int:
    """What the backups that count take of the billed storage."""
    query = select(func.sum(disk_backups.c.storage_bytes)).join(backups)
    return int(transaction.scalar(query.where(*_counted(project_id))) or 0)


def _counted(project_id: ProjectId) -> tuple[ColumnElement[bool], ...]:
    return backups.c.project_id == project_id, backups.c.state != BackupState.DELETING


def of_server(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> list[Backup]:
    """All backups of one server, oldest first."""
    return of_servers(transaction, project_id, [server_id])


def of_servers(
    transaction: Transaction, project_id: ProjectId, ids: Collection[ServerId]
) -> list[Backup]:
    """All backups of these servers, oldest first."""
    return _load(transaction, backups.c.project_id == project_id, backups.c.server_id.in_(ids))


def named(transaction: Transaction, project_id: ProjectId, wanted: str) -> list[Backup]:
    """Backups that `wanted` may mean: by id, by a prefix of it, or by name."""
    means = or_(is_named(backups.c.id, wanted), backups.c.name == wanted)
    return _load(transaction, backups.c.project_id == project_id, means)


def names_beginning(transaction: Transaction, project_id: ProjectId, prefix: str) -> set[str]:
    """Names of backups that begin so."""
    query = select(backups.c.name).where(backups.c.project_id == project_id)
    return set(transaction.scalars(query.where(begins(backups.c.name, prefix))))


def servers_named(transaction: Transaction, project_id: ProjectId, wanted: str) -> list[ServerRef]:
    """Servers that `wanted` may mean, as they were called when they were backed up."""
    query = select(backups.c.server_id, backups.c.server_name)
    query = query.where(backups.c.project_id == project_id)
    rows = transaction.execute(
        union(
            query.where(is_named(backups.c.server_id, wanted)),
            query.where(backups.c.server_name == wanted),
        )
    )
    return [ServerRef(ServerId(row.server_id), row.server_name) for row in rows]


def is_policy_at_work(transaction: Transaction, project_id: ProjectId, policy_id: PolicyId) -> bool:
    """Whether a backup of a run of the policy is being made, or waits for its turn."""
    found = transaction.execute(
        select(backups.c.id)
        .where(
            backups.c.project_id == project_id,
            backups.c.state == BackupState.PROTECTING,
            backups.c.policy_id == policy_id,
        )
        .limit(1)
    ).first()
    return found is not None


def projects_of(transaction: Transaction, ids: Sequence[BackupId]) -> dict[BackupId, ProjectId]:
    """Whose these backups are; for lists over all projects."""
    rows = transaction.execute(
        select(backups.c.id, backups.c.project_id).where(backups.c.id.in_(ids))
    ).all()
    return {BackupId(row.id): ProjectId(row.project_id) for row in rows}


def unsettled(transaction: Transaction, project_id: ProjectId) -> list[ServerRef]:
    """Servers with backups that are being made, restored or deleted."""
    rows = transaction.execute(
        select(backups.c.server_id, func.min(backups.c.server_name).label("name"))
        .where(backups.c.project_id == project_id, backups.c.state.in_(UNSETTLED_STATES))
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


def take_back_deletion(
    transaction: Transaction, project_id: ProjectId, backup_id: BackupId, before: BackupState
) -> None:
    """A backup whose deletion was entered, and has not begun, is what it was before."""
    transaction.execute(
        update(backups)
        .where(
            backups.c.project_id == project_id,
            backups.c.id == backup_id,
            backups.c.state == BackupState.DELETING,
        )
        .values(state=before)
    )


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
