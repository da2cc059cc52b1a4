"""Queries about what is remembered of disks' runs (`csbs.domain.tracking_watch`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.event_tables import tracking_watches
from csbs.domain.ids import BackupId, DiskId, ProjectId
from csbs.domain.tracking_watch import TrackingWatch


def of_disks(
    transaction: Transaction, project_id: ProjectId, disk_ids: Collection[DiskId]
) -> dict[DiskId, TrackingWatch]:
    """What is remembered of these disks."""
    rows = transaction.execute(
        select(tracking_watches).where(
            tracking_watches.c.project_id == project_id, tracking_watches.c.disk_id.in_(disk_ids)
        )
    )
    return {
        DiskId(row.disk_id): TrackingWatch(
            disk_id=DiskId(row.disk_id),
            backup_id=BackupId(row.backup_id),
            was_tracked=row.was_tracked,
            without=row.without,
        )
        for row in rows
    }


def save(transaction: Transaction, project_id: ProjectId, watches: Sequence[TrackingWatch]) -> None:
    """Remembers this instead."""
    for watch in watches:
        transaction.execute(
            delete(tracking_watches).where(tracking_watches.c.disk_id == watch.disk_id)
        )
        transaction.execute(
            insert(tracking_watches).values(
                disk_id=watch.disk_id,
                project_id=project_id,
                backup_id=watch.backup_id,
                was_tracked=watch.was_tracked,
                without=watch.without,
            )
        )
