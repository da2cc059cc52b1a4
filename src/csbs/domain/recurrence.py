r"""When the backups of a policy run: the part of iCalendar's recurrence rules that is promised.

    BEGIN:VCALENDAR                                     may be absent, with its END
    BEGIN:VEVENT                                        likewise
    RRULE:FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=2,14;BYMINUTE=30
    END:VEVENT
    END:VCALENDAR

Clients write it in many ways: lines end in CR LF, in LF, or in the two characters ``\n``; blanks
stand around them; keys come in any order and case.  What the rule parts mean is that of RFC 5545;
hours, minutes and weekdays that are not given are those of the moment at which the rule begins.

One rule names hours and minutes, and runs at all pairs of them.  For other times, such as 02:30 and
14:00, or for weekdays with times of their own, there may be several lines: all of them count.
Whether times lie far enough apart is known where all are (`csbs.domain.schedule`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from csbs.domain.errors import Invalid

PATTERN_SIZE_MAX = 10_240
#: One for each hour of a day, each day of the week with its own.
RULES_MAX = 24
#: Every so many days; more than a year is a mistake.
INTERVAL_DAYS_MAX = 366

T = TypeVar("T")

_LINE_END = re.compile(r"\\r|\\n|\r|\n")
_COMPONENT = re.compile(r"(?:BEGIN|END):(?:VCALENDAR|VEVENT)")
_WRAPPERS = (
    (),
    ("BEGIN:VEVENT", "END:VEVENT"),
    ("BEGIN:VCALENDAR", "END:VCALENDAR"),
    ("BEGIN:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "END:VCALENDAR"),
)


@dataclass(eq=False)
class InvalidPattern(Invalid):
    """A trigger pattern that csbs does not take."""

    pattern: str
    why: str

    template = "the trigger pattern cannot be used: {0.why}"


class Frequency(StrEnum):
    """How often, before weekdays and times say more."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


class Weekday(StrEnum):
    """Days as iCalendar writes them, Monday first."""

    MONDAY = "MO"
    TUESDAY = "TU"
    WEDNESDAY = "WE"
    THURSDAY = "TH"
    FRIDAY = "FR"
    SATURDAY = "SA"
    SUNDAY = "SU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """When a policy runs.  An empty part is that of the moment at which the rule begins."""

    frequency: Frequency
    #: Every so many days (`DAILY` only).
    interval_days: int = 1
    weekdays: frozenset[Weekday] = frozenset()
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()


def parse_pattern(pattern: str) -> tuple[Recurrence, ...]:
    """The rules of a trigger pattern.  Raises `InvalidPattern`, which says what is wrong."""
    if len(pattern) > PATTERN_SIZE_MAX:
        raise InvalidPattern(pattern, f"it has more than {PATTERN_SIZE_MAX} characters")
    try:
        return _recurrences(pattern)
    except ValueError as error:
        raise InvalidPattern(pattern, str(error)) from None


def _recurrences(pattern: str) -> tuple[Recurrence, ...]:
    rules = tuple(_recurrence(_rule_parts(each)) for each in _rules(pattern))
    if len({each.interval_days for each in rules}) > 1:
        raise ValueError("all lines RRULE: must have the same INTERVAL")
    return rules


def _rules(pattern: str) -> list[str]:
    lines = [line.strip() for line in _LINE_END.split(pattern)]
    lines = [line.upper() for line in lines if line]
    rules = [line.removeprefix("RRULE:") for line in lines if line.startswith("RRULE:")]
    if not 1 <= len(rules) <= RULES_MAX:
        raise ValueError(f"it must have a line RRULE:, and at most {RULES_MAX} of them")
    around = tuple(line for line in lines if not line.startswith("RRULE:"))
    if not all(_COMPONENT.fullmatch(line) for line in around) or around not in _WRAPPERS:
        raise ValueError("only BEGIN and END of VCALENDAR and VEVENT may stand around RRULE")
    inside = lines[len(around) // 2 :][: len(rules)]
    if not all(line.startswith("RRULE:") for line in inside):
        raise ValueError("RRULE must stand inside of VEVENT")
    return rules


def _rule_parts(rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in rule.split(";"))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or key.strip() in parts:
            raise ValueError("RRULE must be parts KEY=VALUE, each once")
        parts[key.strip()] = value.strip()
    return parts


def _recurrence(parts: dict[str, str]) -> Recurrence:
    unknown = parts.keys() - {"FREQ", "INTERVAL", "BYDAY", "BYHOUR", "BYMINUTE"}
    if unknown:
        raise ValueError(f"{_short(min(unknown))} is not supported")
    try:
        frequency = Frequency(parts.get("FREQ", ""))
    except ValueError:
        raise ValueError("FREQ must be DAILY or WEEKLY") from None
    return Recurrence(
        frequency=frequency,
        interval_days=_interval(parts, frequency),
        weekdays=frozenset(_list(parts, "BYDAY", Weekday, "days of MO,TU,WE,TH,FR,SA,SU")),
        hours=tuple(sorted(_list(parts, "BYHOUR", _below(24), "hours from 0 to 23"))),
        minutes=tuple(sorted(_list(parts, "BYMINUTE", _below(60), "minutes from 0 to 59"))),
    )


def _interval(parts: dict[str, str], frequency: Frequency) -> int:
    text = parts.get("INTERVAL", "1")
    days = int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 0
    if not 1 <= days <= INTERVAL_DAYS_MAX:
        raise ValueError(f"INTERVAL must be a number from 1 to {INTERVAL_DAYS_MAX}")
    if days > 1 and frequency is not Frequency.DAILY:
        raise ValueError("INTERVAL counts days: it needs FREQ=DAILY")
    return days


def _list(parts: dict[str, str], key: str, parse: Callable[[str], T], what: str) -> set[T]:
    if key not in parts:
        return set()
    try:
        return {parse(each.strip()) for each in parts[key].split(",")}
    except ValueError:
        raise ValueError(f"{key} must be {what}") from None


def _below(end: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) >= end:
            raise ValueError(text)
        return int(text)

    return number


def _short(key: str) -> str:
    """What a client sent, as far as it is worth to be quoted."""
    return key[:32]
