"""Whether servers can be backed up, and backups restored: asked, not done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, backups
from csbs.domain.errors import CsbsError
from csbs.domain.ids import BackupId, PolicyId, ProjectId, ServerId
from csbs.domain.restore_plan import RestorePlan
from csbs.domain.restore_targets import DiskTarget, require_agreed, require_own_server
from csbs.domain.server import ServerRef
from csbs.domain.task import Task
from csbs.services.backups import BackupService
from csbs.services.busy import refuse_busy
from csbs.services.exact import exact_server
from csbs.services.policies import PolicyService
from csbs.services.requests import RestoreRequest
from csbs.services.restores import RestoreService, require_restorable


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer; `refusal` is None for yes."""

    refusal: CsbsError | None = None
    #: The policy that the server is bound to.
    policy_id: PolicyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckService:
    """Asks before the fact; the same rules hold when it is done."""

    catalog: Catalog
    project_id: ProjectId
    backups: BackupService
    restores: RestoreService
    policies: PolicyService

    def protectable(self, server_id: ServerId) -> Verdict:
        """Whether the server can be backed up now."""
        try:
            server = exact_server(self.backups.servers, server_id)
            self.backups.require_ready(server.id)
        except CsbsError as error:
            return Verdict(refusal=error)
        return Verdict(policy_id=self.policies.of_server(server.id))

    def restorable(
        self, backup_id: BackupId, server_id: ServerId, targets: Sequence[DiskTarget] | None
    ) -> Verdict:
        """Whether the backup can be restored there now; without targets: to all its disks."""
        try:
            self.plan_restore(backup_id, server_id, targets)
        except CsbsError as error:
            return Verdict(refusal=error)
        return Verdict()

    def plan_restore(
        self, backup_id: BackupId, server_id: ServerId, targets: Sequence[DiskTarget] | None
    ) -> RestorePlan:
        """The plan of such a restore.

        Raises what `RestoreService.plan` raises, `ServerBusy`, and what
        `csbs.domain.restore_targets` raises.
        """
        with self.catalog.transaction() as transaction:
            backup = backups.get(transaction, self.project_id, backup_id)
        server = exact_server(self.backups.servers, server_id)
        require_own_server(backup.server_id, backup.id, server.id)
        with self.catalog.transaction() as transaction:
            refuse_busy(
                transaction, self.project_id, ServerRef(backup.server_id, backup.server_name)
            )
        require_restorable(backup)
        plan = self.restores.plan(backup.id)
        if targets is not None:
            require_agreed(plan, targets)
        return plan

    def submit_restore(
        self,
        backup_id: BackupId,
        server_id: ServerId,
        targets: Sequence[DiskTarget] | None,
        request: RestoreRequest,
    ) -> Task:
        """Begins a restore that was agreed to in these words, and returns its task."""
        self.plan_restore(backup_id, server_id, targets)
        return self.restores.submit(backup_id, request)
