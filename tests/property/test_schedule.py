"""Due times over the whole data base of time zones, against a clock that ticks minute by minute.

The oracle knows nothing of how due times are computed: it looks at the clock on the wall each
minute, and runs when a time that is wanted has been reached or passed for the first time.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.recurrence import Frequency, Recurrence, Weekday
from csbs.domain.schedule import Timetable, due_between, latest_due, next_due, timetable
from csbs.domain.zones import zone_names, zone_of

YEARS = (2000, 2037)
BEGINS_AT = datetime(1999, 12, 1, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
EVERY_HOUR = tuple(range(24))
ZONES = sorted(zone_names())


@cache
def changes(name: str, year: int) -> list[datetime]:
    """Midnights (UTC) of the year after which the clock of the zone was changed."""
    zone = zone_of(name)
    start = datetime(year, 1, 1, tzinfo=UTC)
    return [
        day
        for week in _steps(zone, start, range(0, 368, 7))
        for day in _steps(zone, week, range(8))
    ]


def _steps(zone: tzinfo, start: datetime, days: range) -> list[datetime]:
    """Those after which the clock is another; no change is taken back within a week."""
    instants = [start + each * DAY for each in days]
    return [
        instant
        for instant, following in pairwise(instants)
        if instant.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset()
    ]


def reference(rule: Recurrence, zone: tzinfo, first: datetime, last: datetime) -> list[datetime]:
    """Runs from `first` on (a minute at which none has been near), by looking each minute."""
    start = BEGINS_AT.astimezone(zone)
    wanted = _wanted(rule, start, first.astimezone(zone).date(), last.astimezone(zone).date())
    shown = first.astimezone(zone).replace(tzinfo=None)
    waiting = deque(sorted(each for each in wanted if each > shown))
    runs: list[datetime] = []
    now = first
    while now < last and waiting:
        now += MINUTE
        shown = now.astimezone(zone).replace(tzinfo=None)
        while waiting and waiting[0] <= shown:
            waiting.popleft()
            if not runs or now - runs[-1] >= HOUR:
                runs.append(now)
    return runs


def _wanted(rule: Recurrence, start: datetime, first: date, last: date) -> Iterator[datetime]:
    names = [each.value for each in Weekday]
    days = {each.value for each in rule.weekdays} or (
        {names[start.weekday()]} if rule.frequency is Frequency.WEEKLY else set(names)
    )
    day = first
    while day <= last + DAY:
        in_step = (day - start.date()).days % rule.interval_days == 0
        if in_step and names[day.weekday()] in days:
            for hour in rule.hours or (start.hour,):
                for minute in rule.minutes or (start.minute,):
                    yield datetime.combine(day, time(hour, minute))
        day += DAY


def apart(minutes: list[int]) -> list[int]:
    """Those that are an hour from the one before, over midnight too."""
    kept: list[int] = []
    for each in sorted(minutes):
        if (not kept or each - kept[-1] >= 60) and (not kept or kept[0] + 1440 - each >= 60):
            kept.append(each)
    return kept


@st.composite
def rules(draw: st.DrawFn) -> Recurrence:
    minute = draw(st.integers(0, 59))
    hours = draw(st.sampled_from([EVERY_HOUR, None])) or draw(
        st.sets(st.integers(0, 23), min_size=1)
    )
    daily = draw(st.booleans())
    return Recurrence(
        frequency=Frequency.DAILY if daily else Frequency.WEEKLY,
        interval_days=draw(st.sampled_from([1, 1, 2, 3, 5, 30])) if daily else 1,
        weekdays=draw(st.frozensets(st.sampled_from(list(Weekday)), max_size=7)),
        hours=tuple(sorted(hours)),
        minutes=(minute,),
    )


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a day near one on which its clock is changed, if it is in that year."""
    name = draw(st.sampled_from(ZONES))
    year = draw(st.integers(*YEARS))
    near = changes(name, year)
    days = (
        st.sampled_from(near)
        if near
        else st.integers(0, 364).map(lambda day: datetime(year, 1, 1, tzinfo=UTC) + day * DAY)
    )
    return name, draw(days)


@settings(max_examples=400)
@given(windows(), rules())
def test_due_times_are_those_of_a_clock_that_is_watched(
    window: tuple[str, datetime], rule: Recurrence
) -> None:
    name, day = window
    zone = zone_of(name)
    made = timetable([rule], zone, BEGINS_AT)
    first, last = day - DAY, day + 2 * DAY
    expected = reference(rule, zone, first, last)
    # What was near before the watching began is not known to who watches.
    sure = first + HOUR

    assert [each for each in expected if each > sure] == [
        each for each in due_between(made, first, last) if each > sure
    ]


@given(windows(), rules(), st.integers(0, 5 * 1440))
def test_the_next_and_the_latest_are_neighbours(
    window: tuple[str, datetime], rule: Recurrence, minutes: int
) -> None:
    name, day = window
    made = timetable([rule], zone_of(name), BEGINS_AT)
    now = day - 2 * DAY + minutes * MINUTE
    latest, following = latest_due(made, now), next_due(made, now)

    assert latest is not None
    assert following is not None
    assert latest <= now < following
    assert following - latest >= HOUR
    assert next_due(made, latest) == following
    assert latest_due(made, following - timedelta.resolution) == latest


def _one_of_each_clock() -> list[str]:
    """Of zones with equal rules one is enough."""
    seen: dict[tuple[object, ...], str] = {}
    for name in ZONES:
        zone = zone_of(name)
        key = tuple(
            datetime(year, month, 15, tzinfo=UTC).astimezone(zone).utcoffset()
            for year in range(YEARS[0], YEARS[1] + 1)
            for month in range(1, 13)
        )
        seen.setdefault(key, name)
    return list(seen.values())


def _pattern(seed: str) -> list[int]:
    source = random.Random(seed)
    minute = source.choice([0, 15, 30, 45, 59])
    return source.choice(
        [
            [source.randrange(1440)],
            [60 * hour + minute for hour in EVERY_HOUR],
            apart([source.randrange(1440) for _ in range(30)]),
        ]
    )


def _table(times: list[int], zone: tzinfo) -> Timetable:
    rules = [
        Recurrence(frequency=Frequency.DAILY, hours=(each // 60,), minutes=(each % 60,))
        for each in times
    ]
    return timetable(rules, zone, BEGINS_AT)


def test_never_two_runs_within_an_hour_and_never_a_missing_day_in_all_zones() -> None:
    """Around each change of each clock from 2000 to 2037."""
    looked_at = 0
    for name in _one_of_each_clock():
        zone = zone_of(name)
        for year in range(YEARS[0], YEARS[1] + 1):
            for day in changes(name, year):
                looked_at += 1
                _check(_table(_pattern(f"{name} {day}"), zone), day)

    assert looked_at > 1000


def _check(made: Timetable, day: datetime) -> None:
    runs = list(due_between(made, day - 2 * DAY, day + 3 * DAY))
    assert all(later - earlier >= HOUR for earlier, later in pairwise(runs))
    dates = {each.astimezone(made.zone).date() for each in runs}
    shown = {(day + hours * HOUR).astimezone(made.zone).date() for hours in range(-24, 48)}
    assert shown <= dates, made


@pytest.mark.parametrize("name", ["Europe/Berlin", "Africa/Casablanca", "Antarctica/Troll"])
def test_no_day_is_missing_over_all_years(name: str) -> None:
    zone = zone_of(name)
    made = _table([150], zone)
    runs = due_between(made, datetime(2000, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC))
    dates = [each.astimezone(zone).date() for each in runs]

    assert all(later - earlier == DAY for earlier, later in pairwise(dates))
    assert len(dates) > 37 * 365
