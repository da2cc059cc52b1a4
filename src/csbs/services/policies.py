"""Policies: making, finding, changing, deleting and running them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from csbs.catalog import Catalog, Transaction, backups, expiry, policies, runs, server_tags, tasks
from csbs.catalog.servers import remember_server
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import CsbsError, OperationCancelled, ServerNotFound
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    PolicyId,
    ProjectId,
    ServerId,
    tracking_name,
)
from csbs.domain.listing import Listing, Slice
from csbs.domain.lookup import matching
from csbs.domain.policy import (
    BoundServer,
    InvalidPolicy,
    NewPolicy,
    NewSchedule,
    Policy,
    PolicyBusy,
    PolicyChange,
    PolicyNotFound,
    PolicyWithoutServers,
    Schedule,
    ServerBound,
    changed_schedule,
    checked_description,
    checked_policy_name,
    new_schedule,
    timetable_of,
)
from csbs.domain.policy_run import PolicyRun
from csbs.domain.quota import SERVERS_PER_POLICY_MAX, QuotaExceeded
from csbs.domain.server import ServerRef
from csbs.domain.tags import with_tags
from csbs.domain.task import Watcher
from csbs.services.backups import BackupService
from csbs.services.due_runs import first_unclaimed
from csbs.services.expiry import rules_of
from csbs.services.policy_requests import auto_name, backup_request
from csbs.services.quotas import QuotaService
from csbs.services.requests import expired_by
from csbs.services.servers import ServerService
from csbs.services.tasks import end_waiting

log = logging.getLogger(__name__)

#: What a person binds; clients of the cloud name a kind of their own.
SERVER_KIND = "OS::Nova::Server"


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
    #: The zone of policies that name none.
    region_zone: str
    #: How much later than due a backup may be there.
    rpo_grace: timedelta
    #: Told of every change, so that the scheduler looks at once.
    changed: Callable[[], None]

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

    def find(self, wanted: str) -> Policy:
        """The policy with this id, unique prefix of it, or name.  Raises `PolicyNotFound`."""
        found = matching(self.list_all(), wanted)
        if len(found) != 1:
            raise PolicyNotFound(wanted)
        return found[0]

    def runs(self, policy_id: PolicyId, *, limit: int) -> list[PolicyRun]:
        """The newest runs that the policy's schedule began, newest first."""
        with self.catalog.transaction() as transaction:
            return runs.of_policy(transaction, self.project_id, policy_id, limit=limit)

    def backups_of(
        self, found: Sequence[PolicyRun]
    ) -> Mapping[CheckpointId, Mapping[BackupState, int]]:
        """How many backups are left of each of these runs, by state."""
        with self.catalog.transaction() as transaction:
            ids = [each.id for each in found]
            return backups.states_of_runs(transaction, self.project_id, ids)

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
            auto_bind=None if wanted.auto_bind is None else tuple(sorted(wanted.auto_bind)),
        )
        with self.catalog.transaction() as transaction:
            policy = self._timed(transaction, policy, None)
            policies.add(transaction, policy)
            self.quotas.require_policy(transaction)
            self._note_bound(transaction, policy, frozenset())
        self.changed()
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
            policy = self._timed(transaction, policy, present)
            policies.save(transaction, policy)
            self._note_bound(transaction, policy, {each.id for each in present.servers})
            self._end_runs(transaction, policy)
            self._take_back_deletions(transaction, policy, present)
        self.changed()
        return policy

    def bind(self, policy_id: PolicyId, wanted: Sequence[ServerId]) -> Policy:
        """Binds these servers too; those that are bound to it already are fine.

        Raises `PolicyNotFound`, `ServerNotFound`, `ServerBound`, `QuotaExceeded` (servers).
        """
        new = [BoundServer(id=each, kind=SERVER_KIND, name="") for each in dict.fromkeys(wanted)]
        checked = self._checked_servers(new)
        with self.catalog.transaction() as transaction:
            present = policies.get(transaction, self.project_id, policy_id)
            added = tuple(each for each in checked if present.server(each.id) is None)
            servers = (*present.servers, *added)
            if len(servers) > SERVERS_PER_POLICY_MAX:
                raise QuotaExceeded("servers in a policy", SERVERS_PER_POLICY_MAX)
            return self._save_servers(transaction, present, servers)

    def unbind(self, policy_id: PolicyId, wanted: Collection[ServerId]) -> Policy:
        """Lets these servers go: nothing of them is begun any more, their backups stay.

        Raises `PolicyNotFound`, `InvalidPolicy` for a server that is not bound to it.
        """
        with self.catalog.transaction() as transaction:
            present = policies.get(transaction, self.project_id, policy_id)
            for each in wanted:
                if present.server(each) is None:
                    raise InvalidPolicy("servers", f"{each} is not bound to {present.name}")
            kept = tuple(each for each in present.servers if each.id not in wanted)
            return self._save_servers(transaction, present, kept)

    def delete(self, policy_id: PolicyId) -> None:
        """Forgets the policy; its servers are free, its backups stay.  Raises `PolicyNotFound`."""
        with self.catalog.transaction() as transaction:
            present = policies.get(transaction, self.project_id, policy_id)
            without = replace(present, servers=())
            self._end_runs(transaction, without)
            self._take_back_deletions(transaction, without, present)
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
            name = auto_name(self.new_id()) if auto_trigger else None
            request = backup_request(policy, server, run_id, auto_name=name)
            try:
                begun.append(self.backups.submit(request))
            except CsbsError as error:
                refused.append((server, error))
        if not begun:
            raise PolicyWithoutServers(policy.name, str(refused[0][1]))
        return [*begun, *(self._enter_failed(begun[0], *each) for each in refused)]

    def run_here(
        self, policy_id: PolicyId, wanted: Sequence[ServerId] | None, watcher: Watcher
    ) -> list[Backup]:
        """As `run`, but in this process: makes one backup after the other, and returns them.

        Raises what `run` raises, and `OperationCancelled`.
        """
        policy = self.get(policy_id)
        chosen = _chosen(policy, wanted)
        run_id = CheckpointId(self.new_id())
        made: list[Backup] = []
        refused: list[tuple[BoundServer, CsbsError]] = []
        for server in chosen:
            request = backup_request(policy, server, run_id, auto_name=None)
            try:
                made.append(self.backups.create(request, watcher))
            except OperationCancelled:
                raise
            except CsbsError as error:
                refused.append((server, error))
        if not made:
            raise PolicyWithoutServers(policy.name, str(refused[0][1]))
        failed = self._of_run(run_id, BackupState.ERROR)
        entered = {each.server_id for each in failed}
        return [
            *made,
            *failed,
            *(self._enter_failed(made[0], *each) for each in refused if each[0].id not in entered),
        ]

    def _of_run(self, run_id: CheckpointId, state: BackupState) -> list[Backup]:
        with self.catalog.transaction() as transaction:
            found = backups.of_runs(transaction, self.project_id, [run_id])
        return [each for each in found if each.state is state]

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
        if wanted.auto_bind is not None or wanted.stop_auto_bind:
            rule = None if wanted.auto_bind is None else tuple(sorted(wanted.auto_bind))
            policy = replace(policy, auto_bind=rule)
        return policy

    def _save_servers(
        self, transaction: Transaction, present: Policy, servers: tuple[BoundServer, ...]
    ) -> Policy:
        policy = replace(present, servers=servers, updated_at=self.clock())
        policies.save(transaction, policy)
        self._note_bound(transaction, policy, {each.id for each in present.servers})
        self._end_runs(transaction, policy)
        self._take_back_deletions(transaction, policy, present)
        return policy

    def _timed(self, transaction: Transaction, policy: Policy, present: Policy | None) -> Policy:
        """With the times at which its schedules are due next.

        A schedule that goes on as it was keeps its time: that may have passed, and is answered.
        """
        former = {} if present is None else {each.id: each for each in present.schedules}
        return replace(
            policy,
            schedules=tuple(
                each
                if each.id in former and _times_of(each) == _times_of(former[each.id])
                else replace(each, next_run_at=self._next_run_at(transaction, each))
                for each in policy.schedules
            ),
        )

    def _next_run_at(self, transaction: Transaction, schedule: Schedule) -> datetime | None:
        if not schedule.enabled:
            return None
        table = timetable_of(schedule, self.region_zone)
        return first_unclaimed(transaction, table, schedule.id, self.clock())

    def _end_runs(self, transaction: Transaction, policy: Policy) -> None:
        """What waits of its runs is not begun: of servers that were let go, or of all.

        Of all where the policy was switched off.  A backup that works goes on.
        """
        runs_by_itself = any(each.enabled for each in policy.schedules)
        kept = [each.id for each in policy.servers] if runs_by_itself else []
        runs.drop(transaction, policy.id, kept=kept)
        for task_id in runs.begun_and_waiting(transaction, policy.id, kept=kept):
            task = tasks.get(transaction, policy.project_id, task_id)
            end_waiting(transaction, task, at=self.clock())

    def _take_back_deletions(
        self, transaction: Transaction, policy: Policy, present: Policy
    ) -> None:
        """What expired and waits still stays where another rule decides now, or none.

        The next look decides anew what expires (`csbs.services.expiry`).
        """
        rules = rules_of(policy)
        same = rules.enabled and rules.retention == rules_of(present).retention
        kept = rules.bound if same else frozenset[ServerId]()
        for task_id in expiry.waiting_deletions(
            transaction, policy.project_id, policy.id, kept=kept
        ):
            task = tasks.get(transaction, policy.project_id, task_id)
            if expired_by(task.request) == policy.id:
                end_waiting(transaction, task, at=self.clock())

    def _note_bound(
        self, transaction: Transaction, policy: Policy, former: Collection[ServerId]
    ) -> None:
        """Rules of tags leave alone what a person let go, until he binds it again."""
        bound = {each.id for each in policy.servers}
        project_id = policy.project_id
        let_go = set(former) - bound
        server_tags.keep_unbound(transaction, project_id, let_go, keep=True)
        server_tags.keep_unbound(transaction, project_id, bound - set(former), keep=False)

    def _changed_schedules(
        self, present: Policy, wanted: Sequence[NewSchedule]
    ) -> tuple[Schedule, ...]:
        """A policy has one schedule at most, so that one is meant, whatever its id."""
        if not present.schedules:
            return tuple(self._new_schedule(each) for each in wanted)
        schedule, zone = present.schedules[0], self.region_zone
        return tuple(changed_schedule(schedule, each, region_zone=zone) for each in wanted)

    def _new_schedule(self, wanted: NewSchedule) -> Schedule:
        ids = (self.new_id(), self.new_id())
        return new_schedule(wanted, ids=ids, at=self.clock(), region_zone=self.region_zone)

    def _checked_servers(self, wanted: Sequence[BoundServer]) -> tuple[BoundServer, ...]:
        if len(wanted) > SERVERS_PER_POLICY_MAX:
            raise QuotaExceeded("servers in a policy", SERVERS_PER_POLICY_MAX)
        ids = [each.id for each in wanted]
        if len(set(ids)) < len(ids):
            raise InvalidPolicy("resources", "a server comes twice")
        found = self._present(ids)
        with self.catalog.transaction() as transaction:
            for server in found:
                remember_server(transaction, self.project_id, server.id, server.name)
        return tuple(
            replace(each, name=each.name or server.name, own_name=server.name)
            for each, server in zip(wanted, found, strict=True)
        )

    def _present(self, ids: Sequence[ServerId]) -> list[ServerRef]:
        """These servers, by whole ids.  One look at the host: a policy may have many."""
        present = {each.id: each for each in self.servers.refs()} if ids else {}
        for server_id in ids:
            if server_id not in present:
                raise ServerNotFound(server_id)
        return [present[server_id] for server_id in ids]

    def _require_idle(self, policy: Policy) -> None:
        with self.catalog.transaction() as transaction:
            if backups.is_policy_at_work(transaction, self.project_id, policy.id):
                raise PolicyBusy(policy.name)

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
            server_name=server.called,
            state=BackupState.ERROR,
            tracking=tracking_name(backup_id),
            disks=(),
            vcpus=0,
            memory_bytes=0,
            finished_at=like.created_at,
        ).failed(FailedOperation.BACKUP, error)
        with self.catalog.transaction() as transaction:
            backups.add(transaction, failed)
        return failed


def _times_of(schedule: Schedule) -> tuple[object, ...]:
    """What decides when it is due."""
    return (
        schedule.enabled,
        schedule.pattern,
        schedule.retention.timezone,
        schedule.starts_at,
    )


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
