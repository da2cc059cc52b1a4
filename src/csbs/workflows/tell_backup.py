"""What a backup that was just recorded, or has just failed, gives cause to tell of.

Called in the transaction that records it: so an event is there if the fact is, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from csbs.catalog import Transaction, events, tracking_watches
from csbs.domain.backup import Backup
from csbs.domain.backup_plan import AUDIT_DIFFERED, Token
from csbs.domain.events import audit_mismatch, run_untracked
from csbs.domain.ids import DiskId
from csbs.domain.tracking_watch import after_run


def tell_commit(
    transaction: Transaction,
    backup: Backup,
    tokens: Sequence[tuple[DiskId, Token | None]],
    *,
    at: datetime,
) -> None:
    """A backup was committed; `tokens` as `facts.tokens_of` has them.  May be repeated."""
    tracked = {disk_id for disk_id, token in tokens if token is not None}
    known = tracking_watches.of_disks(
        transaction, backup.project_id, [disk.disk_id for disk in backup.disks]
    )
    seen = [
        (disk, *after_run(known.get(disk.disk_id), backup.id, disk, tracked_from=tracks))
        for disk in backup.disks
        for tracks in [disk.disk_id in tracked]
    ]
    tracking_watches.save(transaction, backup.project_id, [watch for _, watch, _ in seen])
    untracked = [disk for disk, _, told in seen if told]
    if untracked:
        events.add(transaction, [run_untracked(backup, untracked, at=at)])
    tell_mismatch(transaction, backup, at=at)


def tell_mismatch(transaction: Transaction, backup: Backup, *, at: datetime) -> None:
    """A sample of the backup's disks may have shown that tracking missed a write."""
    wrong = [disk for disk in backup.disks if disk.reason == AUDIT_DIFFERED]
    if wrong:
        events.add(transaction, [audit_mismatch(backup, wrong, at=at)])
