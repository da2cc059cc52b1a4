"""What was decided goes into the catalog and, by TrackingPoints, to the server."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from csbs.catalog import Catalog, backups, collections, servers
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.backup_plan import retirable
from csbs.domain.clock import Clock
from csbs.domain.errors import CsbsError, OperationCancelled
from csbs.domain.ids import ProjectId, ServerId
from csbs.repository import Repository
from csbs.workflows.facts import backup_of, tokens_of
from csbs.workflows.tell_backup import tell_commit, tell_mismatch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Where facts and manifests are, and what time it is."""

    catalog: Catalog
    repository: Repository
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRecords:
    """Where facts alone are: for what never came to the repository."""

    catalog: Catalog
    clock: Clock


def record_commit(records: Records, backup: Backup) -> None:
    """Makes the catalog say what the manifest says: the backup is available.

    The TrackingPoints that its own takes the place of are owed to be retired.
    """
    manifest = records.repository.manifest(backup.manifest_key)
    committed, tokens = backup_of(manifest), tokens_of(manifest)
    with records.catalog.transaction() as transaction:
        backups.save(transaction, committed)
        servers.set_tokens(transaction, backup.project_id, tokens)
        servers.owe_retiring(transaction, backup.project_id, backup.server_id, owed=True)
        tell_commit(transaction, committed, tokens, at=records.clock())


def forget_or_fail(records: Records | CatalogRecords, backup: Backup, error: BaseException) -> None:
    """A cancelled backup disappears; a failed one stays as `error`, with its cause."""
    with records.catalog.transaction() as transaction:
        tell_mismatch(transaction, backup, at=records.clock())
        if isinstance(error, OperationCancelled):
            backups.remove(transaction, backup.project_id, backup.id)
        else:
            failed = backup.to(BackupState.ERROR).failed(FailedOperation.BACKUP, error)
            backups.save(transaction, replace(failed, finished_at=records.clock()))
        if backup.manifest_key:  # else it never came to the server, or to the store
            servers.owe_retiring(transaction, backup.project_id, backup.server_id, owed=True)
            collections.want(transaction, backup.project_id, at=records.clock())


def fence(records: Records, backup: Backup) -> bool:
    """Makes sure that the backup is never committed; False: it was already.

    One that waited only has no key under which it could be.  Raises what the repository raises.
    """
    if not backup.manifest_key:
        return True
    return records.repository.fence(backup.manifest_key, backup.id)


def retire_unused(
    catalog: Catalog, driver: ComputeDriver, project_id: ProjectId, server_id: ServerId
) -> None:
    """Deletes TrackingPoints at the server that no disk's newest token names.

    Those of backups that are not settled stay, and stay owed: one of them may have been committed.
    Raises what the driver raises.
    """
    with catalog.transaction() as transaction:
        tokens = servers.tokens(transaction, project_id, server_id)
        of_server = backups.of_server(transaction, project_id, server_id)
    unsettled = {each.tracking for each in of_server if each.state is BackupState.PROTECTING}
    report = driver.tracking(server_id)
    unused = retirable(report, {disk_id: token.name for disk_id, token in tokens.items()})
    if unused - unsettled:
        driver.retire_tracking(server_id, unused - unsettled)
    with catalog.transaction() as transaction:
        owed = bool(unused & unsettled)
        servers.owe_retiring(transaction, project_id, server_id, owed=owed)


def retire_owed(
    catalog: Catalog, driver: ComputeDriver, project_id: ProjectId, server_id: ServerId
) -> None:
    """Deletes TrackingPoints that a deletion left without a use; the server's lock must be held.

    What fails here stays owed: the next command for that server tries again.
    """
    with catalog.transaction() as transaction:
        owed = servers.is_retiring_owed(transaction, project_id, server_id)
    if not owed:
        return
    try:
        retire_unused(catalog, driver, project_id, server_id)
    except CsbsError as error:
        log.warning(
            "tracking that nobody needs stays at the server for now", extra={"why": str(error)}
        )
