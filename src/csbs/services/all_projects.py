"""Lists over all projects of the region: for administrators only, which the caller must see to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from csbs.catalog import Catalog, Transaction, backup_lists, backups, policies
from csbs.catalog.backup_lists import BackupFilter
from csbs.domain.ids import BackupId, ProjectId
from csbs.domain.listing import Listing, Slice
from csbs.domain.policy import Policy
from csbs.services.backup_views import BackupView, views_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AllProjects:
    """Reading only; all as of one moment."""

    catalog: Catalog

    def backups(self, wanted: BackupFilter, listing: Listing) -> Slice[BackupView]:
        """A page of those backups that are meant.  Raises `MarkerUnknown`."""
        with self.catalog.transaction() as transaction:
            found = backup_lists.page(transaction, None, wanted, listing)
            return found.map(partial(_views, transaction))

    def count_backups(self, wanted: BackupFilter) -> int:
        """How many backups are meant."""
        with self.catalog.transaction() as transaction:
            return backup_lists.count(transaction, None, wanted)

    def policies(self, name: str | None, listing: Listing) -> Slice[Policy]:
        """A page of all policies, or of those with this name.  Raises `MarkerUnknown`."""
        with self.catalog.transaction() as transaction:
            return policies.page(transaction, None, name, listing)


def _views(transaction: Transaction, ids: Sequence[BackupId]) -> list[BackupView]:
    by_project: dict[ProjectId, list[BackupId]] = defaultdict(list)
    for backup_id, project_id in backups.projects_of(transaction, ids).items():
        by_project[project_id].append(backup_id)
    found = {
        view.backup.id: view
        for project_id, own in by_project.items()
        for view in views_of(transaction, project_id, own)
    }
    return [found[each] for each in ids if each in found]
