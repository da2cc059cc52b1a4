"""How new backups are (RPO), and how long restores take (RTO).

A look at all servers finds what was broken or mended since the last one, and records that of a
server with its event in one transaction: whoever dies leaves both or none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from csbs.catalog import Catalog, Transaction, events, rpo
from csbs.catalog.rpo import LastRestore, PromisingPolicy, WatchedServer
from csbs.domain.clock import Clock
from csbs.domain.errors import CsbsError
from csbs.domain.events import Event, RpoFacts, rpo_broken, rpo_mended
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import Schedule, timetable_of
from csbs.domain.rpo import Judgement, Promise, RpoStatus, RpoWatch, age_s, judge, promised_age
from csbs.domain.schedule import longest_gap
from csbs.services.locks import NamedServer

log = logging.getLogger(__name__)

#: Of servers whose state changes, so many are recorded in one transaction: others wait for its end.
_BATCH = 500

#: A backup that is further ahead was made by a clock that was wrong: it says nothing of its age,
#: and would hide until then that no other is made.
_AHEAD_MAX = timedelta(minutes=5)

#: The longest time between two neighbouring due times of a schedule, around an instant.
GapOf = Callable[[Schedule, datetime], timedelta]


def gap_in(region_zone: str, schedule: Schedule, at: datetime) -> timedelta:
    """The `GapOf` of a region.  Raises what `timetable_of` raises."""
    return longest_gap(timetable_of(schedule, region_zone), at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoSummary:
    """What a look found, for metrics: numbers only."""

    promised: int = 0
    broken: int = 0
    #: Of the servers that were backed up; 0 where none was.
    oldest_age_s: int = 0
    #: Of servers that are worst off: age (None: never backed up), and whether it is broken.
    worst: tuple[tuple[ServerId, int | None, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class _Judged:
    """A server, and what follows from a look at it."""

    server: WatchedServer
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoLook:
    """Looks at all servers of all projects."""

    catalog: Catalog
    clock: Clock
    gap_of: GapOf
    #: How much later than due a backup may be restorable.
    grace: timedelta
    #: So many servers are in `RpoSummary.worst`.
    worst_max: int = 0

    def look(self) -> RpoSummary:
        """Records what was broken or mended since the last look.  Raises `CatalogFailed`."""
        now = self.clock()
        with self.catalog.transaction() as transaction:
            found = rpo.promising(transaction)
        # Computed while nobody waits for the catalog.
        promises = self._promises(found.values(), now)
        with self.catalog.transaction() as transaction:
            servers = rpo.watched(transaction, until=now + _AHEAD_MAX)
        judged = _judged(servers, promises, now)
        changed = [each.server.server.id for each in judged if _is_change(each)]
        for start in range(0, len(changed), _BATCH):
            with self.catalog.transaction() as transaction:
                # Judged anew: a backup may have come meanwhile.
                some = changed[start : start + _BATCH]
                servers = rpo.watched(transaction, some, until=now + _AHEAD_MAX)
                _record(transaction, _judged(servers, promises, now), now)
        return _summary(judged, now, self.worst_max)

    def _promises(
        self, found: Iterable[PromisingPolicy], now: datetime
    ) -> dict[PolicyId, Promise | None]:
        """Of those policies of which it can be said; None: it promises nothing."""
        promises = {}
        for policy in found:
            try:
                promises[policy.id] = self._promise(policy, now)
            except CsbsError as error:
                log.warning(
                    "what a policy promises is not known",
                    extra={"policy_id": policy.id, "why": str(error)},
                )
        return promises

    def _promise(self, policy: PromisingPolicy, now: datetime) -> Promise | None:
        schedule = policy.schedule
        age_max = promised_age(self.gap_of(schedule, now), self.grace)
        if age_max is None:
            return None
        terms = (
            policy.id,
            schedule.pattern,
            schedule.retention.timezone,
            schedule.starts_at.isoformat(),
            str(self.grace),
        )
        return Promise(
            policy_id=policy.id,
            policy_name=policy.name,
            age_max=age_max,
            terms=hashlib.sha256("\n".join(terms).encode()).hexdigest(),
        )


def _judged(
    servers: Iterable[WatchedServer], promises: Mapping[PolicyId, Promise | None], now: datetime
) -> list[_Judged]:
    found = []
    for each in servers:
        # What it promises is not known, or it was made a moment ago: nothing is judged.
        if each.policy_id is not None and each.policy_id not in promises:
            continue
        promise = None if each.policy_id is None else promises[each.policy_id]
        found.append(_Judged(each, judge(promise, each.watch, each.newest_at, now)))
    return found


def _is_change(each: _Judged) -> bool:
    return each.judgement.watch != each.server.watch


def _record(transaction: Transaction, judged: Iterable[_Judged], now: datetime) -> None:
    """What changed, with its events."""
    changed = [each for each in judged if _is_change(each)]
    watches: dict[ServerId, tuple[ProjectId, RpoWatch]] = {}
    gone: list[ServerId] = []
    found: list[Event] = []
    for each in changed:
        watch = each.judgement.watch
        if watch is None:
            gone.append(each.server.server.id)
        else:
            watches[each.server.server.id] = each.server.project_id, watch
        found += _events(each, now)
    rpo.remember(transaction, watches)
    rpo.forget(transaction, gone)
    events.add(transaction, found)


def _summary(judged: Iterable[_Judged], now: datetime, worst_max: int) -> RpoSummary:
    ages = [
        (
            each.server.server.id,
            age_s(each.server.newest_at, now),
            each.judgement.watch.broken_at is not None,
        )
        for each in judged
        if each.judgement.watch is not None
    ]
    known = [age for _, age, _ in ages if age is not None]
    return RpoSummary(
        promised=len(ages),
        broken=sum(broken for _, _, broken in ages),
        oldest_age_s=max(known, default=0),
        worst=tuple(sorted(ages, key=_badness, reverse=True)[:worst_max]),
    )


def _badness(server: tuple[ServerId, int | None, bool]) -> tuple[bool, bool, int]:
    _, age, broken = server
    return broken, age is None, age or 0


def _events(each: _Judged, now: datetime) -> Iterator[Event]:
    server, judgement = each.server, each.judgement
    watch, before = judgement.watch, server.watch
    if judgement.broken:
        assert watch is not None
        facts = _facts(watch, watch.broken_at or now, server.newest_at)
        yield rpo_broken(server.project_id, server.server, facts)
    if judgement.mended is not None:
        assert before is not None
        assert before.broken_at is not None
        facts = _facts(watch or before, before.broken_at, server.newest_at)
        why = judgement.mended.value
        yield rpo_mended(server.project_id, server.server, facts, at=now, why=why)


def _facts(watch: RpoWatch, broken_at: datetime, newest_at: datetime | None) -> RpoFacts:
    return RpoFacts(
        policy_id=watch.policy_id,
        policy_name=watch.policy_name,
        promise_s=watch.promise_s,
        newest_backup_at=newest_at,
        broken_at=broken_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoService:
    """What a caller may ask for about one project's RPO and RTO."""

    catalog: Catalog
    project_id: ProjectId
    clock: Clock
    gap_of: GapOf
    #: See `RpoLook`.
    grace: timedelta

    def list_all(self) -> list[RpoStatus]:
        """All servers that csbs knows, by name; what is broken is as of the last look."""
        return self._statuses(None)

    def of_server(self, server: NamedServer) -> RpoStatus:
        """The server's, also of one that was never backed up nor bound."""
        unknown = RpoStatus(server_id=server.id, server_name=server.name)
        return next(iter(self._statuses(server.id)), unknown)

    def _statuses(self, only: ServerId | None) -> list[RpoStatus]:
        now = self.clock()
        with self.catalog.transaction() as transaction:
            servers = rpo.all_servers(transaction, self.project_id, only, until=now + _AHEAD_MAX)
            restores = rpo.last_restores(transaction, self.project_id, only)
            promising = rpo.promising(transaction, self.project_id)
        wanted = {each.policy_id for each in servers}
        promises: dict[PolicyId | None, tuple[PromisingPolicy, int | None]] = {
            policy.id: (policy, self._promise_s(policy, now))
            for policy in promising.values()
            if policy.id in wanted
        }
        return [
            _status(each, promises.get(each.policy_id), restores.get(each.server.id), now)
            for each in servers
        ]

    def _promise_s(self, policy: PromisingPolicy, now: datetime) -> int | None:
        try:
            age_max = promised_age(self.gap_of(policy.schedule, now), self.grace)
        except CsbsError:  # a rule that cannot be read: the look at all servers says so in the log
            return None
        return None if age_max is None else int(age_max.total_seconds())


def _status(
    server: WatchedServer,
    promise: tuple[PromisingPolicy, int | None] | None,
    restore: LastRestore | None,
    now: datetime,
) -> RpoStatus:
    policy, promise_s = promise or (None, None)
    watch = None if policy is None else server.watch
    took = None if restore is None else restore.ended_at - restore.started_at
    return RpoStatus(
        server_id=server.server.id,
        server_name=server.server.name,
        policy_id=None if policy is None else policy.id,
        policy_name=None if policy is None else policy.name,
        promise_s=promise_s,
        newest_backup_at=server.newest_at,
        age_s=age_s(server.newest_at, now),
        broken_at=None if watch is None else watch.broken_at,
        last_restore_s=None if took is None else max(0, int(took.total_seconds())),
        last_restore_at=None if restore is None else restore.ended_at,
    )
