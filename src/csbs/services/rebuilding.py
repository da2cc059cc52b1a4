"""Rebuilding the catalog from the repository, and taking the repository over."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.catalog import Catalog
from csbs.domain.clock import Clock
from csbs.domain.ids import ProjectId
from csbs.services.repositories import RepositoryAccess
from csbs.workflows.rebuild_catalog import RebuildReport, rebuild_catalog
from csbs.workflows.records import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildService:
    """What a caller may ask for when a catalog is lost."""

    catalog: Catalog
    project_id: ProjectId
    repositories: RepositoryAccess
    clock: Clock

    def rebuild(self, *, take_over: bool, delete_damaged: bool = False) -> RebuildReport:
        """Fills the catalog from the repository, and the content index where that is ours.

        `take_over` makes this catalog the owner first, if it is not.  `delete_damaged` deletes the
        backups that are reported as damaged: until then nothing can be collected.  Raises
        `RepositoryLocked` while another command uses the repository, `RepositoryOwned` where it
        may not delete, and `OtherConfig` where not one backup can be read for a config that is not
        theirs: then nothing is deleted.
        """
        with self.repositories.alone("rebuilding the catalog") as (opened, index):
            repository = opened
            if take_over and not opened.owned:
                repository = opened.take_over(self.clock())
            records = Records(catalog=self.catalog, repository=repository, clock=self.clock)
            if delete_damaged:
                repository.require_owner()
            report = rebuild_catalog(records, self.project_id)
            if delete_damaged:
                if not report.backup_count:
                    repository.require_config_of(each.key for each in report.damaged)
                for each in report.damaged:
                    repository.delete(each.key, each.backup_id, deleted_at=self.clock())
            if repository.owned:
                repository.rebuild_index(index)
        return report
