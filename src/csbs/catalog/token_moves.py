"""Queries about moved tokens: for which older backups a disk's token speaks, and how.

A token belongs to the backup at which its TrackingPoint began.  When that backup is deleted, a row
here says what else changed since the one before.  A row is true for ever, since backups never
change; it goes with its backup, or when the disk gets another token.
"""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import disks, token_moves
from csbs.domain.block_set import BlockSet
from csbs.domain.ids import BackupId, DiskId, ProjectId, ServerId, TrackingName


def add(
    transaction: Transaction,
    project_id: ProjectId,
    place: tuple[DiskId, BackupId],
    name: TrackingName,
    blocks: BlockSet,
) -> None:
    """Since this backup of this disk, what `name` recorded changed, and these blocks."""
    disk_id, backup_id = place
    own = select(disks.c.id).where(disks.c.project_id == project_id)
    transaction.execute(
        delete(token_moves).where(
            token_moves.c.disk_id == disk_id,
            token_moves.c.backup_id == backup_id,
            token_moves.c.disk_id.in_(own),
        )
    )
    transaction.execute(
        insert(token_moves).values(
            disk_id=disk_id, backup_id=backup_id, tracking_name=name, blocks=blocks.encode()
        )
    )


def find(
    transaction: Transaction,
    project_id: ProjectId,
    place: tuple[DiskId, BackupId],
    name: TrackingName,
) -> BlockSet | None:
    """What changed since this backup of this disk besides what `name` recorded; None: unknown."""
    disk_id, backup_id = place
    found = transaction.scalar(
        select(token_moves.c.blocks)
        .join(disks)
        .where(
            disks.c.project_id == project_id,
            token_moves.c.disk_id == disk_id,
            token_moves.c.backup_id == backup_id,
            token_moves.c.tracking_name == name,
        )
    )
    if found is None:
        return None
    try:
        return BlockSet.decode(found)
    except ValueError:  # damaged: then nothing is known, and the disk is read whole
        return None


def of_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> dict[DiskId, frozenset[BackupId]]:
    """The backups that each disk's present token was moved to."""
    rows = transaction.execute(
        select(token_moves.c.disk_id, token_moves.c.backup_id)
        .join(disks)
        .where(
            disks.c.project_id == project_id,
            disks.c.server_id == server_id,
            disks.c.tracking_name == token_moves.c.tracking_name,
        )
    ).all()
    found: dict[DiskId, set[BackupId]] = defaultdict(set)
    for row in rows:
        found[DiskId(row.disk_id)].add(BackupId(row.backup_id))
    return {disk_id: frozenset(backup_ids) for disk_id, backup_ids in found.items()}
