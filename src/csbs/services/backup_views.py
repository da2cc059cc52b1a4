"""Backups as they are looked at: with their tags, and the newest task about each.

A backup is available in the catalog as soon as it is committed, and its task goes on for a moment:
until that has ended its server is busy, and the backup cannot be deleted.  Who looks sees it end
with its task, so that what is shown as available can be used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from csbs.catalog import Catalog, backups, tags, tasks
from csbs.domain.backup import Backup, BackupState
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import BackupId, CheckpointId, ProjectId
from csbs.domain.tags import Tag
from csbs.domain.task import Task, TaskKind


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
            BackupView(
                backup=_as_shown(each, newest.get(each.id)),
                task=newest.get(each.id),
                tags=given.get(each.id, ()),
            )
            for each in found
        ]

    def get(self, backup_id: BackupId) -> BackupView:
        """The backup with just this id.  Raises `BackupNotFound`."""
        with self.catalog.transaction() as transaction:
            task = tasks.newest_of_backup(transaction, self.project_id, backup_id)
            backup = backups.get(transaction, self.project_id, backup_id)
            return BackupView(
                backup=_as_shown(backup, task),
                task=task,
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
            found = [
                _as_shown(each, tasks.newest_of_backup(transaction, self.project_id, each.id))
                for each in backups.of_run(transaction, self.project_id, checkpoint_id)
            ]
        if not found:
            raise BackupNotFound(checkpoint_id)
        return found

    def by_run(self) -> list[list[Backup]]:
        """All backups of the project by run, the oldest run first."""
        runs: dict[str, list[Backup]] = {}
        for view in self.list_all():
            runs.setdefault(view.backup.checkpoint_id, []).append(view.backup)
        return list(runs.values())


#: What is shown while a task of this kind has not ended.
_UNTIL_THE_END = {
    TaskKind.BACKUP: BackupState.PROTECTING,
    TaskKind.RESTORE: BackupState.RESTORING,
}


def _as_shown(backup: Backup, task: Task | None) -> Backup:
    if backup.state is not BackupState.AVAILABLE or task is None or not task.is_open:
        return backup
    return replace(backup, state=_UNTIL_THE_END.get(task.kind, backup.state))
