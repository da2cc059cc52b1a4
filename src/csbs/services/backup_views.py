"""Backups as they are looked at: with their tags, and the newest task about each.

A backup is available in the catalog as soon as it is committed, and its task goes on for a moment:
until that has ended its server is busy, and the backup cannot be deleted.  Who looks sees it end
with its task, so that what is shown as available can be used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from csbs.catalog import Catalog, Transaction, backup_lists, backups, run_lists, tags, tasks
from csbs.catalog.backup_lists import SHOWN_UNTIL_THE_END, BackupFilter
from csbs.catalog.run_lists import RunFilter
from csbs.domain.backup import Backup, BackupState
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import BackupId, CheckpointId, ProjectId
from csbs.domain.listing import Listing, Slice
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

    def page(self, wanted: BackupFilter, listing: Listing) -> Slice[BackupView]:
        """A page of those backups that are meant.  Raises `MarkerUnknown`."""
        with self.catalog.reading() as transaction:
            found = backup_lists.page(transaction, self.project_id, wanted, listing)
            return found.map(partial(views_of, transaction, self.project_id))

    def count(self, wanted: BackupFilter) -> int:
        """How many backups are meant."""
        with self.catalog.reading() as transaction:
            return backup_lists.count(transaction, self.project_id, wanted)

    def by_ids(self, ids: Collection[BackupId]) -> dict[BackupId, BackupView]:
        """Those of these backups that are there."""
        with self.catalog.reading() as transaction:
            found = views_of(transaction, self.project_id, sorted(ids))
        return {each.backup.id: each for each in found}

    def get(self, backup_id: BackupId) -> BackupView:
        """The backup with just this id.  Raises `BackupNotFound`."""
        with self.catalog.reading() as transaction:
            task = tasks.newest_of_backup(transaction, self.project_id, backup_id)
            backup = backups.get(transaction, self.project_id, backup_id)
            return BackupView(
                backup=_as_shown(backup, task),
                task=task,
                tags=tags.of_backup(transaction, self.project_id, backup_id),
            )

    def find(self, backup_id: BackupId) -> Backup | None:
        """The backup, if it is (still) there."""
        with self.catalog.reading() as transaction:
            try:
                return backups.get(transaction, self.project_id, backup_id)
            except BackupNotFound:
                return None

    def of_run(self, checkpoint_id: CheckpointId) -> list[Backup]:
        """The backups of one run, oldest first.  Raises `BackupNotFound` if there are none."""
        with self.catalog.reading() as transaction:
            found = self._runs(transaction, [checkpoint_id])
        if not found:
            raise BackupNotFound(checkpoint_id)
        return found[0]

    def runs(self, wanted: RunFilter, listing: Listing) -> Slice[list[Backup]]:
        """A page of those runs that are meant, each with its backups.  Raises `MarkerUnknown`."""
        with self.catalog.reading() as transaction:
            found = run_lists.page(transaction, self.project_id, wanted, listing)
            return found.map(partial(self._runs, transaction))

    def _runs(
        self, transaction: Transaction, run_ids: Sequence[CheckpointId]
    ) -> list[list[Backup]]:
        found = backups.of_runs(transaction, self.project_id, run_ids)
        newest = tasks.newest_of_backups(transaction, self.project_id, [each.id for each in found])
        runs: dict[CheckpointId, list[Backup]] = {}
        for each in found:
            runs.setdefault(each.checkpoint_id, []).append(_as_shown(each, newest.get(each.id)))
        return [runs[each] for each in run_ids if each in runs]


def views_of(
    transaction: Transaction, project_id: ProjectId, ids: Sequence[BackupId]
) -> list[BackupView]:
    """Those of these backups that are there, in this order."""
    newest = tasks.newest_of_backups(transaction, project_id, ids)
    given = tags.of_backups(transaction, project_id, ids)
    return [
        BackupView(
            backup=_as_shown(each, newest.get(each.id)),
            task=newest.get(each.id),
            tags=given.get(each.id, ()),
        )
        for each in backups.by_ids(transaction, project_id, ids)
    ]


def _as_shown(backup: Backup, task: Task | None) -> Backup:
    if backup.state is not BackupState.AVAILABLE or task is None or not task.is_open:
        return backup
    return replace(backup, state=SHOWN_UNTIL_THE_END.get(task.kind, backup.state))
