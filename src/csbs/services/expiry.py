"""Expiry: carries out what retention says of the backups of policies (`csbs.domain.retention`).

Nothing is deleted by a plan that is old: what is submitted is decided in the transaction that
submits it, from what the catalog says then of the policy, the server and all its backups.  Who
changes a policy takes back what waits still (`csbs.services.policies`).  A crash leaves tasks that
the next life carries out, or nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from csbs.catalog import Catalog, Transaction, expiry, policies, tasks
from csbs.domain.errors import BackupInUse, CsbsError
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import Policy, PolicyNotFound, Retention
from csbs.domain.retention import (
    ExpiryPlan,
    ExpiryRules,
    Rule,
    StoredBackup,
    Verdict,
    plan_expiry,
)
from csbs.domain.task import Task
from csbs.domain.zones import zone_of
from csbs.services.backups import BackupService

log = logging.getLogger(__name__)

#: So many deletions of a project may wait or run before expiry submits no more: backups that are
#: due stand in the same queue.
DELETIONS_MAX = 100
#: A deletion that failed is tried again so much later.
RETRY_AFTER = timedelta(hours=1)
#: A policy with many backups is looked at less often, so that looking stays cheap.
_LOOK_PER_BACKUP = timedelta(milliseconds=100)
_LOOK_AFTER_MAX = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryReport:
    """What one look did."""

    submitted: tuple[Task, ...]
    #: What is to expire too, and was left for later.
    left: int


@dataclass(slots=True)
class Looks:
    """When each policy is looked at again; forgotten with the process, which costs a look each."""

    _next: dict[PolicyId, tuple[datetime, datetime]] = field(default_factory=dict)

    def is_due(self, policy: Policy, now: datetime) -> bool:
        """Whether the policy is new, was changed, or its time has come."""
        changed_at, next_at = self._next.get(policy.id, (None, now))
        # A clock that was set back must not keep it for ever.
        return changed_at != policy.updated_at or not now < next_at <= now + _LOOK_AFTER_MAX

    def looked(self, policy: Policy, now: datetime, backups_count: int) -> None:
        """It had so many backups, and nothing is left for now."""
        after = min(backups_count * _LOOK_PER_BACKUP, _LOOK_AFTER_MAX)
        self._next[policy.id] = (policy.updated_at, now + after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryService:
    """Expiry of the backups of one project."""

    catalog: Catalog
    project_id: ProjectId
    backups: BackupService
    #: Of policies that name none.
    region_zone: str
    deletions_max: int = DELETIONS_MAX

    def expire_due(self, now: datetime, looks: Looks | None = None) -> ExpiryReport:
        """Submits the deletions of what no rule keeps at `now`; may be called again and again.

        What is in use is left for a later call, and so is what is more than `deletions_max` at
        once.  What fails for one policy never stops the others.  With `looks` only policies are
        looked at whose time has come.
        """
        looks = looks or Looks()
        with self.catalog.reading() as transaction:
            found = policies.of_project(transaction, self.project_id)
        submitted: list[Task] = []
        left = 0
        for policy in found:
            if not policy.schedules or not looks.is_due(policy, now):
                continue
            try:
                report = self._expire(policy, now, looks)
            except CsbsError as error:  # the next look tries again
                log.warning("expiry failed", extra={"policy_id": policy.id, "why": str(error)})
                continue
            submitted += report.submitted
            left += report.left
        return ExpiryReport(submitted=tuple(submitted), left=left)

    def plan(self, policy: Policy, now: datetime) -> ExpiryPlan:
        """What the policy keeps and removes at `now`; changes nothing."""
        with self.catalog.reading() as transaction:
            stored = expiry.of_policy(transaction, self.project_id, policy.id)
        return self._plan(policy, stored, now)

    def _expire(self, policy: Policy, now: datetime, looks: Looks) -> ExpiryReport:
        # All backups of a policy may be many: nobody waits for that.
        with self.catalog.reading() as transaction:
            stored = expiry.of_policy(transaction, self.project_id, policy.id)
            room = self.deletions_max - expiry.open_deletions(transaction, self.project_id)
        plan = self._plan(policy, stored, now)
        submitted: list[Task] = []
        for server_id in dict.fromkeys(each.backup.server_id for each in plan.expired):
            if len(submitted) >= room:
                break
            submitted += self._expire_server(policy.id, server_id, now, room - len(submitted))
        for task in submitted:
            self.backups.runner.start(task)
        left = len(plan.expired) - len(submitted)
        if len(submitted) < room:
            looks.looked(policy, now, len(stored))
        if submitted:
            log.info(
                "backups expire",
                extra={"policy_id": policy.id, "submitted": len(submitted), "left": left},
            )
        return ExpiryReport(submitted=tuple(submitted), left=left)

    def _expire_server(
        self, policy_id: PolicyId, server_id: ServerId, now: datetime, room: int
    ) -> list[Task]:
        """Decides anew and submits, as a whole."""
        submitted: list[Task] = []
        with self.catalog.transaction() as transaction:
            try:
                policy = policies.get(transaction, self.project_id, policy_id)
            except PolicyNotFound:  # deleted a moment ago
                return []
            stored = expiry.of_policy(transaction, self.project_id, policy_id, server_id)
            for verdict in self._plan(policy, stored, now).expired:
                if len(submitted) == room:
                    break
                if self._failed_lately(transaction, verdict, now):
                    continue
                note = f"policy {policy.name}: {verdict.reasons[0].detail}"
                try:
                    submitted.append(
                        self.backups.enter_deletion(
                            transaction, verdict.backup.id, note=note, policy_id=policy_id
                        )
                    )
                except BackupInUse:
                    continue
        return submitted

    def _plan(self, policy: Policy, stored: list[StoredBackup], now: datetime) -> ExpiryPlan:
        rules = rules_of(policy)
        zone = zone_of(rules.retention.timezone or self.region_zone)
        return plan_expiry(rules, stored, now, zone)

    def _failed_lately(self, transaction: Transaction, verdict: Verdict, now: datetime) -> bool:
        if verdict.reasons[0].rule is not Rule.UNDELETED:
            return False
        newest = tasks.newest_of_backup(transaction, self.project_id, verdict.backup.id)
        ended_at = None if newest is None else newest.ended_at
        return ended_at is not None and now - RETRY_AFTER < ended_at <= now


def rules_of(policy: Policy) -> ExpiryRules:
    """What decides about the policy's backups; a policy without a schedule is off."""
    schedule = policy.schedules[0] if policy.schedules else None
    return ExpiryRules(
        retention=schedule.retention if schedule else Retention(),
        enabled=schedule is not None and schedule.enabled,
        bound=frozenset(each.id for each in policy.servers),
    )
