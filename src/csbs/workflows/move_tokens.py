"""What becomes of TrackingPoints when the backup at which they began is deleted.

Since b, a disk changed where b's bitmap says so; since the backup a before it, there too and where
the maps of a and b differ.  So b's token can speak for a once those blocks are written down:

      a ------- D(a, b) ------- b ------- bitmap ------- now
                                ^ deleted
      a ----------- D(a, b) and the bitmap ------------- now

That is done before b's tombstone: afterwards nobody can read b's map any more.
"""

from __future__ import annotations

import logging

from csbs.catalog import Transaction, backups, servers, token_moves
from csbs.domain.backup import Backup
from csbs.domain.backup_plan import Token
from csbs.domain.block_set import NO_BLOCKS, BlockSet
from csbs.domain.deletion_plan import counts, predecessor
from csbs.domain.errors import Corrupt, NotFound
from csbs.domain.ids import DiskId
from csbs.repository import Repository
from csbs.workflows.records import Records

log = logging.getLogger(__name__)


def move_tokens(records: Records, backup: Backup) -> None:
    """Lets each token that stands at the backup speak for the one before it, durably.

    May be repeated, also after the tombstone: what is written down stays true.  A token that
    cannot be moved is left alone; `give_up_tokens` finds it.
    """
    with records.catalog.transaction() as transaction:
        of_server = backups.of_server(transaction, backup.project_id, backup.server_id)
        tokens = servers.tokens(transaction, backup.project_id, backup.server_id)
    for disk in backup.disks:
        token = tokens.get(disk.disk_id)
        target = predecessor(backup, of_server, disk.disk_id)
        if token is not None and target is not None:
            _move(records, backup, target, disk.disk_id, token)


def _move(records: Records, backup: Backup, target: Backup, disk_id: DiskId, token: Token) -> None:
    project_id, place = backup.project_id, (disk_id, target.id)
    with records.catalog.transaction() as transaction:
        known = _changed_since(transaction, backup, disk_id, token)
        if known is None:
            return
        if token_moves.find(transaction, project_id, place, token.name) is not None:
            return
    between = _differing(records.repository, target, backup, disk_id)
    moved = None if between is None else between.union(known)
    if moved is None:
        log.warning("the next backup reads all of a disk", extra={"disk_id": disk_id})
        return
    with records.catalog.transaction() as transaction:
        token_moves.add(transaction, project_id, place, token.name, moved)


def give_up_tokens(transaction: Transaction, backup: Backup) -> None:
    """Drops tokens that speak for no backup, now that this one is gone from the catalog.

    Their TrackingPoints are owed to be retired; so are all, where no backup is left.
    """
    project_id, server_id = backup.project_id, backup.server_id
    left = backups.of_server(transaction, project_id, server_id)
    left_ids = {each.id for each in left}
    moved = token_moves.of_server(transaction, project_id, server_id)
    lost = [
        disk_id
        for disk_id, token in servers.tokens(transaction, project_id, server_id).items()
        if left_ids.isdisjoint({token.backup_id} | moved.get(disk_id, frozenset()))
    ]
    servers.set_tokens(transaction, project_id, [(disk_id, None) for disk_id in lost])
    if lost or not any(counts(each) for each in left):
        servers.owe_retiring(transaction, project_id, server_id, owed=True)
    committed = [disk.disk_id for disk in backup.disks if disk.changed_bytes is not None]
    servers.remember_deletion(transaction, project_id, committed)


def _changed_since(
    transaction: Transaction, backup: Backup, disk_id: DiskId, token: Token
) -> BlockSet | None:
    """What changed on the disk since the backup, besides what the token's bitmap recorded."""
    if token.backup_id == backup.id:
        return NO_BLOCKS
    return token_moves.find(transaction, backup.project_id, (disk_id, backup.id), token.name)


def _differing(
    repository: Repository, before: Backup, after: Backup, disk_id: DiskId
) -> BlockSet | None:
    """Blocks of the disk in which two backups differ; None: unknown, or in too many places."""
    try:
        old = repository.manifest(before.manifest_key).image(disk_id)
        new = repository.manifest(after.manifest_key).image(disk_id)
        if old is None or new is None or old.size_bytes != new.size_bytes:
            return None
        return BlockSet.of(repository.differing_runs(old, new))
    except (Corrupt, NotFound) as error:
        log.warning("a map cannot be read", extra={"disk_id": disk_id, "why": str(error)})
        return None
