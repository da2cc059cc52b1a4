"""What a policy keeps and removes, now or at a later date, and what space that gives back."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from csbs.catalog import Catalog, backups, expiry
from csbs.domain.backup import Backup
from csbs.domain.clock import Clock, Monotonic
from csbs.domain.deletion_plan import (
    Neighbours,
    counts,
    most_added_bytes,
    neighbours_left,
)
from csbs.domain.errors import Corrupt, CsbsError, NotFound
from csbs.domain.ids import BackupId, ProjectId, ServerId
from csbs.domain.policy import InvalidPolicy, Policy, timetable_of
from csbs.domain.retention import Verdict, plan_expiry
from csbs.domain.schedule import due_between
from csbs.domain.zones import zone_of
from csbs.services.expiry import rules_of
from csbs.services.repositories import RepositoryAccess
from csbs.workflows.delete_backup import added_bytes

log = logging.getLogger(__name__)

#: Nobody knows what is kept after that.
AHEAD_MAX = timedelta(days=5 * 366)
#: So long maps are read; for what is left then the most is taken that it can be.
MEASURE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Billed storage of the servers of a policy, all their backups together."""

    before_bytes: int
    after_bytes: int
    #: False: at least that much is given back; maps could not be read, or not in time.
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What becomes of the backups that are there; `removed` oldest first, `kept` newest first."""

    policy: Policy
    at: datetime
    removed: tuple[Verdict, ...]
    kept: tuple[Verdict, ...]
    #: How often the policy is due until then; each run is taken to end well.
    coming_runs: int
    space: Space
    #: Names of all these backups, and of their servers.
    names: dict[BackupId, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewService:
    """Previews of one project; changes nothing."""

    catalog: Catalog
    project_id: ProjectId
    repositories: RepositoryAccess
    region_zone: str
    clock: Clock
    monotonic: Monotonic
    measure_s: float = MEASURE_S

    def preview(self, policy: Policy, at: datetime | None = None) -> Preview:
        """What the policy keeps and removes at `at`, or now.

        Raises `InvalidPolicy` for an instant that lies back, or too far ahead.
        """
        now = self.clock()
        at = now if at is None else at
        if not now <= at <= now + AHEAD_MAX:
            raise InvalidPolicy("at", f"use a date from now to {now + AHEAD_MAX:%Y-%m-%d}")
        coming = self._coming(policy, now, at)
        with self.catalog.transaction() as transaction:
            stored = expiry.of_policy(transaction, self.project_id, policy.id)
            names = expiry.names(transaction, self.project_id, policy.id)
        rules = rules_of(policy)
        zone = zone_of(rules.retention.timezone or self.region_zone)
        plan = plan_expiry(rules, stored, at, zone, coming)
        kept = sorted(plan.kept(), key=lambda each: each.backup.created_at, reverse=True)
        return Preview(
            policy=policy,
            at=at,
            removed=plan.expired,
            kept=tuple(kept),
            coming_runs=len(coming),
            space=self._space(policy, plan.expired),
            names=names,
        )

    def _coming(self, policy: Policy, now: datetime, at: datetime) -> list[datetime]:
        schedule = policy.schedules[0] if policy.schedules else None
        if schedule is None or not schedule.enabled or at == now:
            return []
        return list(due_between(timetable_of(schedule, self.region_zone), now, at))

    def _space(self, policy: Policy, removed: Sequence[Verdict]) -> Space:
        """Of the servers that are bound, and of those that lose a backup."""
        gone: dict[ServerId, set[BackupId]] = defaultdict(set)
        for each in policy.servers:
            gone[each.id] = set()
        for verdict in removed:
            gone[verdict.backup.server_id].add(verdict.backup.id)
        deadline = self.monotonic() + self.measure_s
        spaces = []
        for server_id, ids in gone.items():
            with self.catalog.transaction() as transaction:
                found = backups.of_server(transaction, self.project_id, server_id)
            spaces.append(self._space_of(found, ids, lambda: self.monotonic() >= deadline))
        return Space(
            before_bytes=sum(each.before_bytes for each in spaces),
            after_bytes=sum(each.after_bytes for each in spaces),
            exact=all(each.exact for each in spaces),
        )

    def _space_of(
        self, found: Sequence[Backup], removed: set[BackupId], too_late: Callable[[], bool]
    ) -> Space:
        counted = [each for each in found if counts(each)]
        before_bytes = sum(each.storage_bytes for each in counted)
        after_bytes = sum(each.storage_bytes for each in counted if each.id not in removed)
        left = neighbours_left(removed, found)
        if not left:
            return Space(before_bytes=before_bytes, after_bytes=after_bytes, exact=True)
        exact = True
        measured = self._measured(left, too_late)
        for place, each in enumerate(left):
            disk = each.after.disk(each.disk_id)
            assert disk is not None, "it has the disk"
            new_bytes = measured.get(place)
            exact = exact and new_bytes is not None
            most = most_added_bytes(each, found)
            after_bytes += (most if new_bytes is None else new_bytes) - (disk.storage_bytes or 0)
        return Space(before_bytes=before_bytes, after_bytes=after_bytes, exact=exact)

    def _measured(self, left: Sequence[Neighbours], too_late: Callable[[], bool]) -> dict[int, int]:
        """What each adds, by its place; what could not be read, or not in time, is missing."""
        measured: dict[int, int] = {}
        try:
            with self.repositories.shared("a preview", cancelled=too_late) as repository:
                for place, each in enumerate(left):
                    if too_late():
                        break
                    with suppress(Corrupt, NotFound):  # verification finds and names damage
                        measured[place] = added_bytes(repository, each)
        except CsbsError as error:
            log.warning("a preview is an estimate", extra={"why": str(error)})
        return measured
