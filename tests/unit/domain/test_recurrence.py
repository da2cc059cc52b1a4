"""Trigger patterns: what is taken, however it is written, and what is not."""

from __future__ import annotations

import pytest

from csbs.domain.recurrence import (
    Frequency,
    InvalidPattern,
    Recurrence,
    Weekday,
    parse_pattern,
)

WRAPPED = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
RULE = "RRULE:FREQ=WEEKLY;BYDAY=TH,MO;BYHOUR=14,2;BYMINUTE=27"
MEANT = Recurrence(
    frequency=Frequency.WEEKLY,
    weekdays=frozenset({Weekday.MONDAY, Weekday.THURSDAY}),
    hours=(2, 14),
    minutes=(27,),
)


@pytest.mark.parametrize(
    "pattern",
    [
        WRAPPED.format(RULE),
        WRAPPED.format(RULE).replace("\r\n", "\n"),
        WRAPPED.format(RULE).replace("\r\n", "\r \n"),
        WRAPPED.format(RULE).replace("\r\n", "\\n"),
        WRAPPED.format(RULE).replace("\r\n", "\\r\\n"),
        f"BEGIN:VEVENT\n{RULE}\nEND:VEVENT",
        f"BEGIN:VCALENDAR\n{RULE}\nEND:VCALENDAR",
        RULE,
        f"  {RULE}  ",
        f"{RULE};",
        "RRULE:BYMINUTE=27;BYHOUR=2,14;BYDAY=MO,TH;FREQ=WEEKLY",
        "rrule:freq=weekly; byday=mo , th; byhour=02,14; byminute=27",
        f"{RULE};INTERVAL=1",
    ],
)
def test_one_rule_however_it_is_written(pattern: str) -> None:
    assert parse_pattern(pattern) == (MEANT,)


def test_every_so_many_days() -> None:
    (rule,) = parse_pattern("RRULE:FREQ=DAILY;INTERVAL=3;BYHOUR=1;BYMINUTE=0")

    assert (rule.frequency, rule.interval_days) == (Frequency.DAILY, 3)


def test_what_is_not_given_is_left_to_the_beginning() -> None:
    (rule,) = parse_pattern("RRULE:FREQ=DAILY")

    assert (rule.hours, rule.minutes, rule.weekdays) == ((), (), frozenset())


def test_several_lines_are_several_rules() -> None:
    pattern = WRAPPED.format(f"{RULE}\r\nRRULE:FREQ=DAILY;BYHOUR=7;BYMINUTE=5")

    assert parse_pattern(pattern) == (
        MEANT,
        Recurrence(frequency=Frequency.DAILY, hours=(7,), minutes=(5,)),
    )


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "a line RRULE"),
        ("soon", "a line RRULE"),
        ("\n".join([RULE] * 25), "at most 24"),
        ("RRULE:FREQ=DAILY;INTERVAL=2\nRRULE:FREQ=DAILY;INTERVAL=3", "the same INTERVAL"),
        (f"DTSTART:20310101T000000Z\n{RULE}", "BEGIN and END"),
        (f"BEGIN:VEVENT\n{RULE}", "BEGIN and END"),
        (f"END:VEVENT\n{RULE}\nBEGIN:VEVENT", "BEGIN and END"),
        (f"BEGIN:VEVENT\nEND:VEVENT\n{RULE}", "inside of VEVENT"),
        (f"BEGIN:VEVENT\n{RULE}\nEND:VEVENT\n{RULE}", "inside of VEVENT"),
        ("RRULE:", "FREQ must be"),
        ("RRULE:FREQ=HOURLY", "FREQ must be"),
        ("RRULE:FREQ=MINUTELY;INTERVAL=5", "FREQ must be"),
        ("RRULE:FREQ=DAILY;FREQ=DAILY", "each once"),
        ("RRULE:FREQ=DAILY;BYHOUR", "each once"),
        ("RRULE:FREQ=DAILY;=1", "KEY=VALUE"),
        ("RRULE:FREQ=DAILY;COUNT=5", "COUNT is not supported"),
        ("RRULE:FREQ=DAILY;UNTIL=20310101T000000Z", "UNTIL is not supported"),
        ("RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL must be"),
        ("RRULE:FREQ=DAILY;INTERVAL=367", "INTERVAL must be"),
        ("RRULE:FREQ=DAILY;INTERVAL=-1", "INTERVAL must be"),
        ("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "needs FREQ=DAILY"),
        ("RRULE:FREQ=WEEKLY;BYDAY=XX", "BYDAY must be"),
        ("RRULE:FREQ=WEEKLY;BYDAY=1MO", "BYDAY must be"),
        ("RRULE:FREQ=DAILY;BYHOUR=24", "BYHOUR must be"),
        ("RRULE:FREQ=DAILY;BYHOUR=", "BYHOUR must be"),
        ("RRULE:FREQ=DAILY;BYHOUR=1;BYMINUTE=60", "BYMINUTE must be"),
        ("x" * 10_241, "more than 10240"),
    ],
)
def test_what_is_not_promised_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(InvalidPattern) as raised:
        parse_pattern(pattern)

    assert why in raised.value.why


def test_a_long_key_is_not_quoted_whole() -> None:
    with pytest.raises(InvalidPattern) as raised:
        parse_pattern(f"RRULE:FREQ=DAILY;{'X' * 5000}=1")

    assert len(raised.value.why) < 100
