"""Policies: making, finding, changing, deleting and running them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from csbs.catalog import Catalog, Transaction, backups, policies
from csbs.catalog.servers import remember_server
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.clock import Clock, NewId
from csbs.domain.consistency import ApplicationMode, Consistency
from csbs.domain.errors import CsbsError
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    PolicyId,
    ProjectId,
    ServerId,
    tracking_name,
)
from csbs.domain.listing import Listing, Slice
from csbs.domain.policy import (
    BoundServer,
    InvalidPolicy,
    NewPolicy,
    NewSchedule,
    Policy,
    PolicyBusy,
    PolicyChange,
    PolicyWithoutServers,
    Schedule,
    ServerBound,
    changed_schedule,
    checked_description,
    checked_policy_name,
    new_schedule,
)
from csbs.domain.quota import SERVERS_PER_POLICY_MAX, QuotaExceeded
from csbs.domain.tags import with_tags
from csbs.services.backups import BackupService
from csbs.services.exact import exact_server
from csbs.services.quotas import QuotaService
from csbs.services.requests import CreateBackup
from csbs.services.servers import ServerService

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyService:
    """What a caller may ask for about policies."""

    catalog: Catalog
    project_id: ProjectId
    servers: ServerService
    backups: BackupService
    quotas: QuotaService
    clock: Clock
    new_id: NewId

    def list_all(self) -> list[Policy]:
        """All policies, oldest first."""
        with self.catalog.transaction() as transaction:
            return policies.of_project(transaction, self.project_id)

    def page(self, name: str | None, listing: Listing) -> Slice[Policy]:
        """A page of all policies, or of the one with this name.  Raises `MarkerUnknown`."""
        with self.catalog.reading() as transaction:
            return policies.page(transaction, self.project_id, name, listing)

    def by_ids(self, ids: Iterable[PolicyId]) -> dict[PolicyId, Policy]:
        """Those of these policies that are there."""
        with self.catalog.reading() as transaction:
            found = policies.by_ids(transaction, self.project_id, sorted(set(ids)))
        return {each.id: each for each in found}

    def get(self, policy_id: PolicyId) -> Policy:
        """The policy with just this id.  Raises `PolicyNotFound`."""
        with self.catalog.transaction() as transaction:
            return policies.get(transaction, self.project_id, policy_id)

    def of_server(self, server_id: ServerId) -> PolicyId | None:
        """The policy that the server is bound to."""
        with self.catalog.transaction() as transaction:
            return policies.of_server(transaction, self.project_id, server_id)

    def create(self, wanted: NewPolicy) -> Policy:
        """Makes a policy and binds its servers.

        Raises `InvalidPolicy`, `InvalidPattern`, `PolicyNameTaken`, `ServerNotFound`,
        `ServerBound`, `TooManyTags`, `TooManyPolicies`, `QuotaExceeded` (servers).
        """
        now = self.clock()
        policy = Policy(
            id=PolicyId(self.new_id()),
            project_id=self.project_id,
            name=checked_policy_name(wanted.name),
            description=checked_description(wanted.description),
            created_at=now,
            updated_at=now,
            parameters=wanted.parameters,
            application=wanted.application,
            servers=self._checked_servers(wanted.servers),
            schedules=tuple(self._new_schedule(each) for each in wanted.schedules),
            tags=with_tags(wanted.name, (), wanted.tags),
        )
        with self.catalog.transaction() as transaction:
            policies.add(transaction, policy)
            self.quotas.require_policy(transaction)
        return policy

    def change(self, policy_id: PolicyId, wanted: PolicyChange) -> Policy:
        """Changes what is given, and returns the policy.

        Raises `PolicyNotFound`, and what `create` raises.
        """
        # The host is asked outside of the transaction.
        servers = None if wanted.servers is None else self._checked_servers(wanted.servers)
        with self.catalog.transaction() as transaction:
            present = policies.get(transaction, self.project_id, policy_id)
            policy = self._changed(present, wanted, servers)
            policies.save(transaction, policy)
        return policy

    def delete(self, policy_id: PolicyId) -> None:
        """Forgets the policy; its servers are free, its backups stay.  Raises `PolicyNotFound`."""
        with self.catalog.transaction() as transaction:
            policies.remove(transaction, self.project_id, policy_id)

    def run(
        self,
        policy_id: PolicyId,
        wanted: Sequence[ServerId] | None,
        *,
        auto_trigger: bool = False,
    ) -> list[Backup]:
        """Begins a backup of each of the policy's servers, or of these of them; returns them.

        A server that cannot be backed up now has a backup `error` among them, with the cause.
        Raises `PolicyNotFound`, `InvalidPolicy` for a server that is not bound to it,
        `PolicyBusy`, `PolicyWithoutServers` if there is none that can be backed up, and
        `QuotaExceeded`.
        """
        policy = self.get(policy_id)
        chosen = _chosen(policy, wanted)
        self._require_idle(policy)
        self.quotas.require_backups(len(chosen))
        run_id = CheckpointId(self.new_id())
        begun: list[Backup] = []
        refused: list[tuple[BoundServer, CsbsError]] = []
        for server in chosen:
            request = self._request(policy, server, run_id, auto_trigger=auto_trigger)
            try:
                begun.append(self.backups.submit(request))
            except CsbsError as error:
                refused.append((server, error))
        if not begun:
            raise PolicyWithoutServers(policy.name, str(refused[0][1]))
        return [*begun, *(self._enter_failed(begun[0], *each) for each in refused)]

    def _changed(
        self, present: Policy, wanted: PolicyChange, servers: tuple[BoundServer, ...] | None
    ) -> Policy:
        policy = replace(present, updated_at=self.clock())
        if wanted.name is not None:
            policy = replace(policy, name=checked_policy_name(wanted.name))
        if wanted.description is not None:
            policy = replace(policy, description=checked_description(wanted.description))
        if wanted.parameters is not None:
            policy = replace(policy, parameters=wanted.parameters, application=wanted.application)
        if servers is not None:
            policy = replace(policy, servers=servers)
        if wanted.schedules is not None:
            policy = replace(policy, schedules=self._changed_schedules(present, wanted.schedules))
        if wanted.tags is not None:
            policy = replace(policy, tags=with_tags(policy.name, (), wanted.tags))
        return policy

    def _changed_schedules(
        self, present: Policy, wanted: Sequence[NewSchedule]
    ) -> tuple[Schedule, ...]:
        """A policy has one schedule at most, so that one is meant, whatever its id."""
        if not present.schedules:
            return tuple(self._new_schedule(each) for each in wanted)
        return tuple(changed_schedule(present.schedules[0], each) for each in wanted)

    def _new_schedule(self, wanted: NewSchedule) -> Schedule:
        return new_schedule(wanted, ids=(self.new_id(), self.new_id()), at=self.clock())

    def _checked_servers(self, wanted: Sequence[BoundServer]) -> tuple[BoundServer, ...]:
        if len(wanted) > SERVERS_PER_POLICY_MAX:
            raise QuotaExceeded("servers in a policy", SERVERS_PER_POLICY_MAX)
        ids = [each.id for each in wanted]
        if len(set(ids)) < len(ids):
            raise InvalidPolicy("resources", "a server comes twice")
        found = [exact_server(self.servers, each.id) for each in wanted]
        with self.catalog.transaction() as transaction:
            for server in found:
                remember_server(transaction, self.project_id, server.id, server.name)
        return tuple(
            each if each.name else replace(each, name=server.name)
            for each, server in zip(wanted, found, strict=True)
        )

    def _require_idle(self, policy: Policy) -> None:
        with self.catalog.transaction() as transaction:
            found = backups.of_policy(transaction, self.project_id, policy.id)
        if any(each.state is BackupState.PROTECTING for each in found):
            raise PolicyBusy(policy.name)

    def _request(
        self, policy: Policy, server: BoundServer, run_id: CheckpointId, *, auto_trigger: bool
    ) -> CreateBackup:
        application = policy.application is not ApplicationMode.NO
        return CreateBackup(
            server=server.id,
            name=f"autobk_{self.new_id()[:8]}" if auto_trigger else None,
            consistency=Consistency.APPLICATION if application else Consistency.FILESYSTEM,
            require_consistency=policy.application is ApplicationMode.REQUIRED,
            exclude_disks=server.exclude_disks,
            checkpoint_id=run_id,
            policy_id=policy.id,
            auto_trigger=auto_trigger,
        )

    def _enter_failed(self, like: Backup, server: BoundServer, error: CsbsError) -> Backup:
        """A trace of a server that could not be backed up in this run."""
        log.warning(
            "a server of a policy was not backed up",
            extra={"server_id": server.id, "policy_id": like.policy_id, "why": str(error)},
        )
        backup_id = BackupId(self.new_id())
        failed = replace(
            like,
            id=backup_id,
            name=f"{like.name.partition('_')[0]}_{backup_id[:8]}",
            server_id=server.id,
            server_name=server.name,
            state=BackupState.ERROR,
            tracking=tracking_name(backup_id),
            disks=(),
            finished_at=like.created_at,
        ).failed(FailedOperation.BACKUP, error)
        with self.catalog.transaction() as transaction:
            backups.add(transaction, failed)
        return failed


def refuse_bound(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> None:
    """Raises `ServerBound` if the server is bound to a policy of the project."""
    policy_id = policies.of_server(transaction, project_id, server_id)
    if policy_id is not None:
        raise ServerBound(server_id, policy_id)


def _chosen(policy: Policy, wanted: Sequence[ServerId] | None) -> Sequence[BoundServer]:
    if wanted is None:
        chosen = policy.servers
    else:
        if any(policy.server(each) is None for each in wanted):
            raise InvalidPolicy("resources", f"not all of them are bound to policy {policy.name}")
        chosen = tuple(each for each in policy.servers if each.id in wanted)
    if not chosen:
        raise PolicyWithoutServers(policy.name, "none is bound to it")
    return chosen
