"""When a policy runs, as people say it: times of the day, on weekdays or every so many days."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from csbs.domain.policy import InvalidPolicy
from csbs.domain.recurrence import INTERVAL_DAYS_MAX, Weekday
from csbs.domain.schedule import Timetable

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_MINUTES_PER_HOUR = 60
#: `mon`, `tue` ... as people write them; the first two letters are those of iCalendar.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def pattern_of(at: Sequence[str], days: Sequence[str], every_days: int | None) -> str:
    """The trigger pattern of `["02:30", "14:00"]` on `["mon", "thu"]`, or every so many days.

    Raises `InvalidPolicy`; what else the pattern may not be is found where it is parsed.
    """
    if not at:
        raise InvalidPolicy("at", "say the times of the day, such as 02:30,14:30")
    if days and every_days is not None:
        raise InvalidPolicy("every_days", "give weekdays, or every so many days, not both")
    if every_days is not None and not 1 <= every_days <= INTERVAL_DAYS_MAX:
        raise InvalidPolicy("every_days", f"use 1 to {INTERVAL_DAYS_MAX} days")
    rules = [
        f"{_days_part(days, every_days)};BYHOUR={_numbers(hours)};BYMINUTE={_numbers(minutes)}"
        for hours, minutes in _grids(at)
    ]
    lines = ["BEGIN:VCALENDAR", "BEGIN:VEVENT", *rules, "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(lines)


def spoken(table: Timetable) -> list[tuple[list[str], list[str]]]:
    """Weekdays, and the times at which it runs on them: `[(["mon", "thu"], ["02:30"])]`."""
    found: dict[tuple[int, ...], list[str]] = {}
    for day, times in zip(DAYS, table.times, strict=True):
        if times:
            found.setdefault(times, []).append(day)
    return [(days, [_clock(each) for each in times]) for times, days in found.items()]


def _grids(at: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """Hours with the minutes at which it runs in each of them."""
    minutes_of: dict[int, set[int]] = defaultdict(set)
    for text in at:
        found = _TIME.fullmatch(text.strip())
        if found is None:
            raise InvalidPolicy("at", f"{text[:16]!r} is no time of the day: write it like 02:30")
        minutes_of[int(found[1])].add(int(found[2]))
    hours_of: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for hour in sorted(minutes_of):
        hours_of[tuple(sorted(minutes_of[hour]))].append(hour)
    return [(hours, list(minutes)) for minutes, hours in hours_of.items()]


def _days_part(days: Sequence[str], every_days: int | None) -> str:
    if not days:
        return f"RRULE:FREQ=DAILY;INTERVAL={every_days or 1}"
    chosen = {_weekday(each) for each in days}
    return f"RRULE:FREQ=WEEKLY;BYDAY={','.join(each for each in Weekday if each in chosen)}"


def _weekday(day: str) -> Weekday:
    """`mo`, `mon` or `monday`, and nothing that only begins so."""
    word = day.strip().lower()
    for each in Weekday:
        if word in {each.value.lower(), each.name[:3].lower(), each.name.lower()}:
            return each
    raise InvalidPolicy("days", f"{day[:16]!r} is none of {', '.join(DAYS)}")


def _numbers(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _clock(minute: int) -> str:
    return "{:02}:{:02}".format(*divmod(minute, _MINUTES_PER_HOUR))
