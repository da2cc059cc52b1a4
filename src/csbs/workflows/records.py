"""What was decided goes into the catalog and, by TrackingPoints, to the server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from csbs.catalog import Catalog, backups, servers
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, BackupState
from csbs.domain.backup_plan import retirable
from csbs.domain.clock import Clock
from csbs.domain.errors import OperationCancelled
from csbs.domain.ids import ProjectId, ServerId
from csbs.repository import Repository
from csbs.workflows.facts import backup_of, tokens_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Where facts and manifests are, and what time it is."""

    catalog: Catalog
    repository: Repository
    clock: Clock


def record_commit(records: Records, backup: Backup, *, finished_at: datetime | None) -> None:
    """Makes the catalog say what the manifest says: the backup is available.

    `finished_at` is None where nobody knows when it was finished.
    """
    manifest = records.repository.manifest(backup.manifest_key)
    committed = replace(backup_of(manifest), finished_at=finished_at)
    with records.catalog.transaction() as transaction:
        backups.save(transaction, committed)
        servers.set_tokens(transaction, backup.project_id, tokens_of(manifest))


def forget_or_fail(records: Records, backup: Backup, error: Exception) -> None:
    """A cancelled backup disappears; a failed one stays as `error`, with its cause."""
    with records.catalog.transaction() as transaction:
        if isinstance(error, OperationCancelled):
            backups.remove(transaction, backup.project_id, backup.id)
        else:
            failed = replace(
                backup.to(BackupState.ERROR), finished_at=records.clock(), fail_reason=str(error)
            )
            backups.save(transaction, failed)


def retire_unused(
    catalog: Catalog, driver: ComputeDriver, project_id: ProjectId, server_id: ServerId
) -> None:
    """Deletes TrackingPoints at the server that no disk's newest token names."""
    with catalog.transaction() as transaction:
        tokens = servers.tokens(transaction, project_id, server_id)
    report = driver.tracking(server_id)
    unused = retirable(report, {disk_id: token.name for disk_id, token in tokens.items()})
    if unused:
        driver.retire_tracking(server_id, unused)
