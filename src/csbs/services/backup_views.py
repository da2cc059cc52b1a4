"""Backups as they are looked at: with their tags, and the newest task about each."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.catalog import Catalog, backups, tags, tasks
from csbs.domain.backup import Backup
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import BackupId, CheckpointId, ProjectId
from csbs.domain.tags import Tag
from csbs.domain.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupView:
    """A backup, and what is known beside it."""

    backup: Backup
    #: The newest about it; None where tasks were forgotten.
    task: Task | None
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupViews:
    """Reading only; all as of one moment."""

    catalog: Catalog
    project_id: ProjectId

    def list_all(self) -> list[BackupView]:
        """All backups of the project, oldest first."""
        with self.catalog.transaction() as transaction:
            found = backups.of_project(transaction, self.project_id)
            newest = tasks.newest_of_backups(transaction, self.project_id)
            given = tags.of_backups(transaction, self.project_id)
        return [
            BackupView(backup=each, task=newest.get(each.id), tags=given.get(each.id, ()))
            for each in found
        ]

    def get(self, backup_id: BackupId) -> BackupView:
        """The backup with just this id.  Raises `BackupNotFound`."""
        with self.catalog.transaction() as transaction:
            return BackupView(
                backup=backups.get(transaction, self.project_id, backup_id),
                task=tasks.newest_of_backup(transaction, self.project_id, backup_id),
                tags=tags.of_backup(transaction, self.project_id, backup_id),
            )

    def find(self, backup_id: BackupId) -> Backup | None:
        """The backup, if it is (still) there."""
        with self.catalog.transaction() as transaction:
            try:
                return backups.get(transaction, self.project_id, backup_id)
            except BackupNotFound:
                return None

    def of_run(self, checkpoint_id: CheckpointId) -> list[Backup]:
        """The backups of one run, oldest first.  Raises `BackupNotFound` if there are none."""
        with self.catalog.transaction() as transaction:
            found = backups.of_run(transaction, self.project_id, checkpoint_id)
        if not found:
            raise BackupNotFound(checkpoint_id)
        return found

    def by_run(self) -> list[list[Backup]]:
        """All backups of the project by run, the oldest run first."""
        runs: dict[str, list[Backup]] = {}
        with self.catalog.transaction() as transaction:
            for each in backups.of_project(transaction, self.project_id):
                runs.setdefault(each.checkpoint_id, []).append(each)
        return list(runs.values())
