"""Which backups of a policy are kept, and which expire: pure, with a reason for each.

Counted are the automatic backups of the policy that can be restored and that nobody uses, server by
server.  Of these one stays if any rule that is set keeps it:

    number                  the newest so many
    age                     those younger than so many days (of 24 hours) or calendar months
    day, week, month, year  the newest of each of the last so many that have one, by the local date

What is not counted never expires by these rules: manual backups, those in use, those with images,
and those whose time lies ahead: they were made by a clock that was wrong, and would pass for the
newest until that time comes.
Nothing expires while the policy is off or the server not bound to it, or where no rule is set or
`permanent` is; and the newest one counted never does, so that a bound server always keeps one to
restore from.  Automatic backups that failed go by rules of their own: a few stay, for a while.  One
whose deletion failed is deleted again where neither number nor age keep it.

Backups are sorted by their instants, and each rule finds what it keeps by bisection: a plan costs
what it removes and what the rules of days keep, not what there is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.ids import BackupId, ServerId
from csbs.domain.policy import Retention
from csbs.domain.zones import local_instant

#: Of the automatic backups of a server and policy that failed, so many are kept, so long.
FAILED_BACKUPS_MAX = 10
FAILED_MONTHS_MAX = 1

_MONTHS_PER_YEAR = 12
_EVER = datetime.min.replace(tzinfo=UTC)
_created_at = attrgetter("created_at")
_IN_USE = {
    BackupState.PROTECTING: "it is being made",
    BackupState.RESTORING: "it is being restored",
    BackupState.DELETING: "it is being deleted",
}


class Rule(StrEnum):
    """What keeps a backup, or removes it."""

    #: The policy does not run.
    OFF = "off"
    #: The server is not bound to the policy (any more).
    UNBOUND = "unbound"
    #: Somebody made it, not the schedule.
    MANUAL = "manual"
    #: Something is at work on it, or an image was made from it.
    IN_USE = "in_use"
    #: Its time lies ahead: a clock was wrong.
    AHEAD = "ahead"
    #: No rule is set, or `permanent`.
    FOR_EVER = "for_ever"
    #: The newest backup of a bound server.
    NEWEST = "newest"
    NUMBER = "number"
    AGE = "age"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    #: It failed.
    FAILED = "failed"
    #: Its deletion failed.
    UNDELETED = "undeleted"
    #: No rule keeps it.
    NONE = "none"


class Reason(NamedTuple):
    """A rule, and what it says of one backup."""

    rule: Rule
    detail: str


_FOR_EVER = Reason(Rule.FOR_EVER, "no rule of the policy removes backups")


class StoredBackup(NamedTuple):
    """A backup of a policy, as retention looks at it."""

    server_id: ServerId
    created_at: datetime
    id: BackupId
    state: BackupState
    auto_trigger: bool
    failed: FailedOperation | None
    #: Why it may not go, beside its state; empty: it may.
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryRules:
    """What decides about a policy's backups."""

    retention: Retention
    #: Whether the policy runs by itself.
    enabled: bool
    #: The servers that are bound to it now.
    bound: frozenset[ServerId]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a backup stays, and by which rules; one that goes has a single reason."""

    backup: StoredBackup
    kept: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """What becomes of the counted backups of one server, which come oldest first."""

    counted: Sequence[StoredBackup]
    for_ever: bool
    #: So many of the newest stay.
    number: int
    #: What is younger stays; None: no rule of age.
    cutoff: datetime | None
    #: What rules of days keep, by place.
    periods: Mapping[int, Sequence[Reason]]

    @property
    def number_from(self) -> int:
        """From this place on all stay by number."""
        return max(len(self.counted) - self.number, 0)

    @property
    def age_from(self) -> int:
        """From this place on all stay by age."""
        if self.cutoff is None:
            return len(self.counted)
        return bisect_right(self.counted, self.cutoff, key=_created_at)

    def expired(self) -> Iterator[StoredBackup]:
        """What no rule keeps, oldest first."""
        if self.for_ever:
            return
        newest = len(self.counted) - 1
        for place in range(min(self.number_from, self.age_from, newest)):
            if place not in self.periods and self.counted[place].id:
                yield self.counted[place]

    def kept(self) -> Iterator[Verdict]:
        """What stays, and why, oldest first."""
        number_from, age_from = self.number_from, self.age_from
        newest = len(self.counted) - 1
        for place, backup in enumerate(self.counted):
            reasons = list(self.periods.get(place, ()))
            if place >= age_from:
                reasons.insert(0, Reason(Rule.AGE, "it is young enough"))
            if place >= number_from:
                detail = f"number {newest - place + 1} of the newest {self.number}"
                reasons.insert(0, Reason(Rule.NUMBER, detail))
            if place == newest:
                reasons.insert(0, Reason(Rule.NEWEST, "it is the newest of its server"))
            if self.for_ever:
                reasons.insert(0, _FOR_EVER)
            if reasons and backup.id:
                yield Verdict(backup, kept=True, reasons=tuple(reasons))

    def keeps_uncounted(self, created_at: datetime) -> bool:
        """Whether number or age would keep one of this instant."""
        if self.for_ever or (self.cutoff is not None and created_at > self.cutoff):
            return True
        newer = len(self.counted) - bisect_right(self.counted, created_at, key=_created_at)
        return newer < self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryPlan:
    """What expires now, oldest first for each server, and what stays."""

    expired: tuple[Verdict, ...]
    _kept: tuple[Verdict, ...]
    _plans: tuple[ServerPlan, ...]

    def kept(self) -> Iterator[Verdict]:
        """What stays, with the rules that keep it; in no order."""
        yield from self._kept
        for plan in self._plans:
            yield from plan.kept()


def plan_expiry(
    rules: ExpiryRules,
    backups: Iterable[StoredBackup],
    now: datetime,
    zone: tzinfo,
    coming: Sequence[datetime] = (),
) -> ExpiryPlan:
    """What becomes of all backups of one policy at `now`; `zone` says where days begin.

    `backups` come server by server, those of one server oldest first.  For a look ahead, `coming`
    are instants at which each bound server will have got one more; these are in no list.
    """
    more = [_coming(each) for each in coming]
    expired: list[Verdict] = []
    kept: list[Verdict] = []
    plans: list[ServerPlan] = []
    why = _why_removed(rules.retention)
    for server_id, of_server in groupby(backups, attrgetter("server_id")):
        if not rules.enabled or server_id not in rules.bound:
            kept += (Verdict(each, kept=True, reasons=(_idle(rules, each),)) for each in of_server)
            continue
        history = _sorted_out(of_server, kept, now)
        plan = plan_server(rules.retention, history.counted + more, now, zone)
        plans.append(plan)
        expired += (Verdict(each, kept=False, reasons=(why,)) for each in plan.expired())
        for verdict in _of_failed(history, plan, now, zone):
            (kept if verdict.kept else expired).append(verdict)
    return ExpiryPlan(expired=tuple(expired), _kept=tuple(kept), _plans=tuple(plans))


def plan_server(
    retention: Retention, counted: Sequence[StoredBackup], now: datetime, zone: tzinfo
) -> ServerPlan:
    """What the rules keep of the counted backups of one server, which come oldest first."""
    for_ever = retention.keeps_for_ever
    return ServerPlan(
        counted=counted,
        for_ever=for_ever,
        number=retention.max_backups or 0,
        cutoff=_cutoff(retention, now, zone),
        periods={} if for_ever else _kept_by_periods(retention, counted, zone),
    )


@dataclass(slots=True)
class _History:
    """The automatic backups of one server that are not in use, oldest first."""

    counted: list[StoredBackup] = field(default_factory=list)
    failed: list[StoredBackup] = field(default_factory=list)
    undeleted: list[StoredBackup] = field(default_factory=list)


def _coming(at: datetime) -> StoredBackup:
    """A backup that will be; of no server, and without an id."""
    return StoredBackup(ServerId(""), at, BackupId(""), BackupState.AVAILABLE, True, None)


def _sorted_out(backups: Iterable[StoredBackup], kept: list[Verdict], now: datetime) -> _History:
    history = _History()
    for each in backups:
        if each.auto_trigger and not each.held and each.created_at <= now:
            if each.state is BackupState.AVAILABLE:
                history.counted.append(each)
                continue
            if each.state is BackupState.ERROR:
                deleting = each.failed is FailedOperation.DELETE
                (history.undeleted if deleting else history.failed).append(each)
                continue
        kept.append(Verdict(each, kept=True, reasons=(_not_counted(each),)))
    return history


def _not_counted(backup: StoredBackup) -> Reason:
    if not backup.auto_trigger:
        return Reason(Rule.MANUAL, "it was made by hand")
    if backup.held or backup.state in _IN_USE:
        return Reason(Rule.IN_USE, backup.held or _IN_USE[backup.state])
    return Reason(Rule.AHEAD, "its time lies ahead: a clock was wrong when it was made")


def _idle(rules: ExpiryRules, backup: StoredBackup) -> Reason:
    if not backup.auto_trigger:
        return _not_counted(backup)
    if not rules.enabled:
        return Reason(Rule.OFF, "nothing expires while the policy is off")
    return Reason(Rule.UNBOUND, "its server is not bound to the policy")


def _of_failed(
    history: _History, plan: ServerPlan, now: datetime, zone: tzinfo
) -> Iterator[Verdict]:
    """Backups in `error`: those that failed, and those whose deletion did."""
    oldest = len(history.failed) - FAILED_BACKUPS_MAX
    since = months_before(now, FAILED_MONTHS_MAX, zone)
    for place, each in enumerate(history.failed):
        if place < oldest:
            yield _goes(each, Rule.FAILED, f"it failed, and so did {FAILED_BACKUPS_MAX} since")
        elif each.created_at <= since:
            yield _goes(each, Rule.FAILED, f"it failed more than {FAILED_MONTHS_MAX} month ago")
        else:
            yield _stays(each, Rule.FAILED, "it failed lately")
    for each in history.undeleted:
        if plan.keeps_uncounted(each.created_at):
            yield _stays(each, Rule.UNDELETED, "its deletion failed; no rule removes it now")
        else:
            yield _goes(each, Rule.UNDELETED, "its deletion failed, and is tried again")


def _stays(backup: StoredBackup, rule: Rule, detail: str) -> Verdict:
    return Verdict(backup, kept=True, reasons=(Reason(rule, detail),))


def _goes(backup: StoredBackup, rule: Rule, detail: str) -> Verdict:
    return Verdict(backup, kept=False, reasons=(Reason(rule, detail),))


def _cutoff(retention: Retention, now: datetime, zone: tzinfo) -> datetime | None:
    if retention.max_age_months is not None:
        return months_before(now, retention.max_age_months, zone)
    if retention.max_age_days is not None:
        return now - timedelta(days=retention.max_age_days)
    return None


def months_before(now: datetime, months: int, zone: tzinfo) -> datetime:
    """The same local time on the same day of an earlier month, or on its last day."""
    local = now.astimezone(zone)
    year, month = divmod(local.year * _MONTHS_PER_YEAR + local.month - 1 - months, _MONTHS_PER_YEAR)
    # The first year of the calendar is not whole in each zone.
    if year <= 1:
        return _EVER
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).astimezone(UTC)


#: Of the local date of a backup: the first date of its period, and what the period is called.
_Period: TypeAlias = Callable[[date], tuple[date, str]]


def _day(day: date) -> tuple[date, str]:
    return day, day.isoformat()


def _week(day: date) -> tuple[date, str]:
    year, week, weekday = day.isocalendar()
    return day - timedelta(days=weekday - 1), f"{year}-W{week:02}"


def _month(day: date) -> tuple[date, str]:
    return day.replace(day=1), f"{day:%Y-%m}"


def _year(day: date) -> tuple[date, str]:
    return day.replace(month=1, day=1), f"{day:%Y}"


def _kept_by_periods(
    retention: Retention, counted: Sequence[StoredBackup], zone: tzinfo
) -> Mapping[int, Sequence[Reason]]:
    kept: dict[int, list[Reason]] = defaultdict(list)
    for rule, number, period in (
        (Rule.DAY, retention.day_backups, _day),
        (Rule.WEEK, retention.week_backups, _week),
        (Rule.MONTH, retention.month_backups, _month),
        (Rule.YEAR, retention.year_backups, _year),
    ):
        for place, name in _newest_of_each(counted, number or 0, period, zone):
            kept[place].append(Reason(rule, f"the newest of {name}"))
    return kept


def _newest_of_each(
    counted: Sequence[StoredBackup], number: int, period: _Period, zone: tzinfo
) -> Iterator[tuple[int, str]]:
    """Places of the newest backups of the last periods that have one, and their names."""
    end = len(counted)
    for _ in range(number):
        if end == 0:
            return
        first, name = period(counted[end - 1].created_at.astimezone(zone).date())
        yield end - 1, name
        begin = local_instant(zone, first, 0)
        end = bisect_left(counted, begin, hi=end, key=_created_at)


def _why_removed(retention: Retention) -> Reason:
    """For all that no rule keeps, the same: what the rules are."""
    said = []
    if retention.max_backups is not None:
        said.append(f"the newest {retention.max_backups}")
    for number, name in ((retention.max_age_days, "day"), (retention.max_age_months, "month")):
        if number is not None:
            said.append(f"those younger than {number} {name}{_s(number)}")
    for number, name in (
        (retention.day_backups, "day"),
        (retention.week_backups, "week"),
        (retention.month_backups, "month"),
        (retention.year_backups, "year"),
    ):
        if number:
            said.append(f"the newest of each of {number} {name}{_s(number)}")
    return Reason(Rule.NONE, f"no rule keeps it; kept are: {', '.join(said)}")


def _s(number: int) -> str:
    return "" if number == 1 else "s"
