"""When a policy is due: pure functions of rules, a zone and instants.

A rule names local times on local days; `csbs.domain.zones.local_instant` says when they are.  Where
a change of the clock brings due times nearer than an hour, the first of them runs, and what follows
within an hour of one that runs is left out.

So there are never two runs within an hour, and no due day is left without one.  "Every n days"
counts local dates from that of the rule's beginning, whatever its hour.

Neighbours of one timetable lie an hour apart at least, over midnight and the end of the week too:
times come nearer where a clock is changed, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise, product
from math import lcm

from csbs.domain.recurrence import (
    Frequency,
    InvalidPattern,
    Recurrence,
    Weekday,
    parse_pattern,
)
from csbs.domain.zones import local_instant

#: FAQ 3.6: up to 24 times a day, neighbours at least one hour apart, over midnight too.
RUNS_PER_DAY_MAX = 24
APART_MINUTES_MIN = 60

_APART = timedelta(minutes=APART_MINUTES_MIN)
_DAY = timedelta(days=1)
_WEEK_DAYS = 7
_MINUTES_PER_HOUR = 60
_MINUTES_PER_DAY = 24 * 60
#: So far back what was left out is known whatever came before: a whole day has been skipped, never
#: two, and the times of an ordinary day lie an hour apart, which is where counting begins anew.
_LOOK_BACK = timedelta(days=3)
_WEEKDAYS = tuple(Weekday)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Rules in a zone, from an instant on; made by `timetable`."""

    #: For each weekday, Monday first: minutes of the local day, in order.
    times: tuple[tuple[int, ...], ...]
    #: Only every so many days from `first_date` on.
    step_days: int
    zone: tzinfo
    begins_at: datetime
    first_date: date


def timetable(rules: Sequence[Recurrence], zone: tzinfo, begins_at: datetime) -> Timetable:
    """The times of the rules; what one does not say is as in the local time of `begins_at`."""
    begins = begins_at.astimezone(zone)
    times: list[set[int]] = [set() for _ in _WEEKDAYS]
    for rule in rules:
        for weekday in _weekdays(rule, begins):
            for hour, minute in product(
                rule.hours or (begins.hour,), rule.minutes or (begins.minute,)
            ):
                times[weekday].add(hour * _MINUTES_PER_HOUR + minute)
    return Timetable(
        times=tuple(tuple(sorted(each)) for each in times),
        step_days=rules[0].interval_days,
        zone=zone,
        begins_at=begins_at.astimezone(UTC),
        first_date=begins.date(),
    )


def checked_timetable(pattern: str, zone: tzinfo, begins_at: datetime) -> Timetable:
    """The times of the pattern.

    Raises `InvalidPattern`, also for one that is never due, or too often.
    """
    table = timetable(parse_pattern(pattern), zone, begins_at)
    for why in (_why_never_due(table), _why_too_often(table)):
        if why:
            raise InvalidPattern(pattern, why)
    return table


def next_due(table: Timetable, after: datetime) -> datetime | None:
    """The first due instant (UTC) after `after`, and not before the rule begins; None: never."""
    return next(_due_after(table, after), None)


def latest_due(table: Timetable, at_or_before: datetime) -> datetime | None:
    """The last due instant (UTC) until then; None: there was none."""
    # A clock that is set back over midnight has shown the next day's first minutes already.
    day = at_or_before.astimezone(table.zone).date() + _DAY
    for due_day in _days_back(table, day):
        due = list(_due_from(table, due_day - _LOOK_BACK, at_or_before))
        if due:
            return due[-1]
    return None


def due_between(table: Timetable, after: datetime, until: datetime) -> Iterator[datetime]:
    """All due instants (UTC) after `after`, up to `until`, in order."""
    for each in _due_after(table, after):
        if each > until:
            return
        yield each


def longest_gap(table: Timetable, at: datetime) -> timedelta:
    """The longest time between two neighbours: what a policy promises of the age of a backup.

    By the clock on the wall; but where a clock was or is being set back around `at`, as long as
    the night really is.  `timedelta.max` of a rule that is never due.
    """
    if _is_never_due(table):
        return timedelta.max
    gaps = [timedelta(minutes=each) for each in _wall_gaps_minutes(table)]
    before = latest_due(table, at)
    if before is not None:
        earlier = latest_due(table, before - timedelta.resolution)
        after = next_due(table, at)
        gaps += [] if earlier is None else [before - earlier]
        gaps += [] if after is None else [after - before]
    return max(gaps)


def _due_after(table: Timetable, after: datetime) -> Iterator[datetime]:
    day = max(after, table.begins_at).astimezone(table.zone).date()
    for each in _due_from(table, day - _LOOK_BACK, None):
        if each > after:
            yield each


def _due_from(table: Timetable, first: date, until: datetime | None) -> Iterator[datetime]:
    """Due instants of the days from `first` on; right from some two days later."""
    last = None
    for day in _days(table, first):
        for minute in table.times[day.weekday()]:
            instant = local_instant(table.zone, day, minute)
            if until is not None and instant > until:
                return
            if instant >= table.begins_at and (last is None or instant - last >= _APART):
                last = instant
                yield instant


def _days(table: Timetable, first: date) -> Iterator[date]:
    if _is_never_due(table):
        return
    steps = max(0, -((table.first_date - first).days // table.step_days))
    day = table.first_date + steps * table.step_days * _DAY
    # A calendar ends; nobody waits for it.
    last = date.max - (table.step_days + 1) * _DAY
    while day < last:
        if table.times[day.weekday()]:
            yield day
        day += table.step_days * _DAY


def _days_back(table: Timetable, last: date) -> Iterator[date]:
    steps = (last - table.first_date).days // table.step_days
    for step in range(steps, -1, -1):
        day = table.first_date + step * table.step_days * _DAY
        if table.times[day.weekday()]:
            yield day


def _is_never_due(table: Timetable) -> bool:
    """Days that are whole weeks apart are always the same weekday; all others come by each."""
    return table.step_days % _WEEK_DAYS == 0 and not table.times[table.first_date.weekday()]


def _why_never_due(table: Timetable) -> str:
    if not _is_never_due(table):
        return ""
    days = ", ".join(_day_name(day) for day, times in enumerate(table.times) if times)
    return (
        f"it never runs: every {table.step_days} days from {table.first_date} on is always a "
        f"{_day_name(table.first_date.weekday())}, never one of {days}; leave out BYDAY or "
        "choose another INTERVAL"
    )


def _why_too_often(table: Timetable) -> str:
    for day, times in enumerate(table.times):
        following_day = table.times[(day + 1) % _WEEK_DAYS] if table.step_days == 1 else ()
        if len(times) > RUNS_PER_DAY_MAX:
            return f"it runs {len(times)} times on {_day_name(day)}, at most {RUNS_PER_DAY_MAX}"
        around = [*times, *(each + _MINUTES_PER_DAY for each in following_day[:1])]
        for earlier, later in pairwise(around):
            if later - earlier < APART_MINUTES_MIN:
                return (
                    f"{_moment(day, earlier)} and {_moment(day, later)} are {later - earlier} "
                    f"minutes apart, at least {APART_MINUTES_MIN} are needed"
                )
    return ""


def _moment(day: int, minute: int) -> str:
    days, minute = divmod(minute, _MINUTES_PER_DAY)
    hour, minute = divmod(minute, _MINUTES_PER_HOUR)
    return f"{_day_name((day + days) % _WEEK_DAYS)} {hour:02}:{minute:02}"


def _day_name(day: int) -> str:
    return _WEEKDAYS[day].name.capitalize()


def _weekdays(rule: Recurrence, begins: datetime) -> Iterator[int]:
    if rule.weekdays:
        yield from (_WEEKDAYS.index(each) for each in rule.weekdays)
    elif rule.frequency is Frequency.WEEKLY:
        yield begins.weekday()
    else:
        yield from range(_WEEK_DAYS)


def _wall_gaps_minutes(table: Timetable) -> Iterator[int]:
    """Between all neighbours, until weekdays and steps come round again."""
    end = table.first_date + 2 * lcm(table.step_days, _WEEK_DAYS) * _DAY
    last = None
    for day in _days(table, table.first_date):
        if day > end:
            return
        for minute in table.times[day.weekday()]:
            moment = (day - table.first_date).days * _MINUTES_PER_DAY + minute
            if last is not None:
                yield moment - last
            last = moment
