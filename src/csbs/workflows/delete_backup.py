"""Deleting one backup: a tombstone beside its manifest, then the catalog follows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from csbs.catalog import backups, collections
from csbs.domain.backup import Backup, BackupState
from csbs.domain.deletion_plan import DeletionPlan, Neighbours, neighbours, plan_deletion
from csbs.domain.errors import Corrupt, NotFound
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Image, Repository
from csbs.workflows.move_tokens import give_up_tokens, move_tokens
from csbs.workflows.records import Records, fence
from csbs.workflows.run import Run

log = logging.getLogger(__name__)


def measure_deletion(records: Records, backup: Backup, of_server: Sequence[Backup]) -> DeletionPlan:
    """What the deletion changes in the billed storage; reads maps, changes nothing."""
    moved = [
        (each.after.id, each.disk_id, _storage_bytes(records.repository, backup, each))
        for each in neighbours(backup, of_server)
    ]
    return plan_deletion(backup, of_server, moved)


def delete_backup(run: Run, records: Records, plan: DeletionPlan) -> None:
    """Deletes one backup; the tombstone is the point of no return.

    Each step may be repeated.  A crash before the tombstone leaves a backup `deleting` that can
    be deleted again, a crash after it a row that `settle` removes.  Tokens move before the
    tombstone, while the map can be read.  What is owed to the server then is up to the caller
    (`records.retire_owed`): it may be out of reach, and a deletion must not fail for that.
    """
    run.step("mark", _mark, records, plan.backup)
    run.step("move tokens", move_tokens, records, plan.backup)
    run.step("entomb", _entomb, records, plan.backup)
    run.step("record", _record, records, plan)


def _mark(records: Records, backup: Backup) -> None:
    with records.catalog.transaction() as transaction:
        backups.set_state(transaction, backup.project_id, backup.id, BackupState.DELETING)


def _entomb(records: Records, backup: Backup) -> None:
    try:
        fenced = fence(records, backup)
    except Corrupt:  # a damaged manifest goes like any other
        fenced = False
    if not fenced:  # it was committed
        records.repository.delete(backup.manifest_key, backup.id, deleted_at=records.clock())


def _record(records: Records, plan: DeletionPlan) -> None:
    backup = plan.backup
    with records.catalog.transaction() as transaction:
        backups.set_storage(transaction, backup.project_id, plan.moved)
        backups.remove(transaction, backup.project_id, backup.id)
        give_up_tokens(transaction, backup)
        collections.want(transaction, backup.project_id, at=records.clock())


def _storage_bytes(repository: Repository, backup: Backup, each: Neighbours) -> int:
    """What the backup behind adds once `backup` is gone: D(before, after)."""
    try:
        return added_bytes(repository, each)
    except (Corrupt, NotFound) as error:
        # Damage must not keep anybody from deleting: then the most that it can be is taken.
        log.warning("a map is damaged, the size is an estimate", extra={"why": str(error)})
        own, behind = backup.disk(each.disk_id), each.after.disk(each.disk_id)
        return sum((disk.storage_bytes or 0) for disk in (own, behind) if disk is not None)


def added_bytes(repository: Repository, each: Neighbours) -> int:
    """What a backup adds behind its predecessor: D(before, after).

    Raises `Corrupt`, `NotFound`.
    """
    after = _image(repository, each.after, each)
    assert after is not None
    before = None if each.before is None else _image(repository, each.before, each)
    return repository.difference(before, after) * BLOCK_SIZE


def _image(repository: Repository, backup: Backup, each: Neighbours) -> Image | None:
    return repository.manifest(backup.manifest_key).image(each.disk_id)
