"""All use cases of one project, put together by `csbs.app`."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.services.audit import AuditService
from csbs.services.backups import BackupService
from csbs.services.collection import CollectionService
from csbs.services.execution import TaskExecutor
from csbs.services.exports import ExportService
from csbs.services.jobs import JobService
from csbs.services.notifications import NotificationService
from csbs.services.protection import Protection
from csbs.services.repositories import RepositoryAccess
from csbs.services.repository_keys import KeyService
from csbs.services.restores import RestoreService
from csbs.services.rpo import RpoService
from csbs.services.servers import ServerService
from csbs.services.stores import StoreService
from csbs.services.tasks import TaskService
from csbs.services.verification import VerifyService


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """All use cases of one project, ready."""

    servers: ServerService
    backups: BackupService
    restores: RestoreService
    exports: ExportService
    repositories: RepositoryAccess
    verification: VerifyService
    keys: KeyService
    stores: StoreService
    tasks: TaskService
    jobs: JobService
    protection: Protection
    executor: TaskExecutor
    collection: CollectionService
    audit: AuditService
    notifications: NotificationService
    rpo: RpoService
