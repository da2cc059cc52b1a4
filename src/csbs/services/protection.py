"""What a project's callers have beside backups, restores and tasks themselves, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from csbs.services.all_projects import AllProjects
from csbs.services.backup_views import BackupViews
from csbs.services.backups import BackupService
from csbs.services.binding import BindingService
from csbs.services.checks import CheckService
from csbs.services.expiry import ExpiryService
from csbs.services.expiry_preview import PreviewService
from csbs.services.policies import PolicyService
from csbs.services.quotas import QuotaService
from csbs.services.restores import RestoreService
from csbs.services.server_disks import ServerDisks
from csbs.services.tags import BackupTags, PolicyTags


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Use cases of one project."""

    policies: PolicyService
    binding: BindingService
    expiry: ExpiryService
    preview: PreviewService
    quotas: QuotaService
    checks: CheckService
    views: BackupViews
    disks: ServerDisks
    backup_tags: BackupTags
    policy_tags: PolicyTags
    #: What administrators may see; of every project's use cases the same.
    all_projects: AllProjects


def nobody() -> None:
    """Nobody is told: no scheduler runs here."""


def protection_of(
    backups: BackupService,
    restores: RestoreService,
    *,
    region_zone: str,
    rpo_grace: timedelta,
    policies_changed: Callable[[], None] = nobody,
) -> Protection:
    """The use cases of the project that these are of."""
    catalog, project_id = backups.catalog, backups.project_id
    quotas = QuotaService(catalog=catalog, project_id=project_id)
    policies = PolicyService(
        catalog=catalog,
        project_id=project_id,
        servers=backups.servers,
        backups=backups,
        quotas=quotas,
        clock=backups.clock,
        new_id=backups.new_id,
        region_zone=region_zone,
        rpo_grace=rpo_grace,
        changed=policies_changed,
    )
    return Protection(
        policies=policies,
        binding=BindingService(
            catalog=catalog,
            project_id=project_id,
            servers=backups.servers,
            clock=backups.clock,
        ),
        expiry=ExpiryService(
            catalog=catalog,
            project_id=project_id,
            backups=backups,
            region_zone=region_zone,
        ),
        preview=PreviewService(
            catalog=catalog,
            project_id=project_id,
            repositories=backups.repositories,
            region_zone=region_zone,
            clock=backups.clock,
            monotonic=backups.locks.monotonic,
        ),
        quotas=quotas,
        checks=CheckService(
            catalog=catalog,
            project_id=project_id,
            backups=backups,
            restores=restores,
            policies=policies,
        ),
        disks=ServerDisks(
            catalog=catalog,
            project_id=project_id,
            driver=backups.driver,
            new_id=backups.new_id,
        ),
        views=BackupViews(catalog=catalog, project_id=project_id),
        backup_tags=BackupTags(catalog=catalog, project_id=project_id),
        policy_tags=PolicyTags(catalog=catalog, project_id=project_id),
        all_projects=AllProjects(catalog=catalog),
    )
