"""When a policy is due: weekdays, every so many days, and clocks that are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from csbs.domain.recurrence import InvalidPattern
from csbs.domain.schedule import (
    Timetable,
    checked_timetable,
    due_between,
    latest_due,
    longest_gap,
    next_due,
)
from csbs.domain.zones import zone_of

LONG_AGO = "2000-01-01 00:00"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def table(rule: str, zone: str = "UTC", begins_at: str = LONG_AGO) -> Timetable:
    return checked_timetable(f"RRULE:{rule}", zone_of(zone), at(begins_at))


def local_times(made: Timetable, after: str, until: str) -> list[str]:
    """Due times as the clock on the wall shows them."""
    return [
        f"{each.astimezone(made.zone):%a %d %H:%M}"
        for each in due_between(made, at(after), at(until))
    ]


def test_weekdays_at_several_times() -> None:
    made = table("FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=2,14;BYMINUTE=27")

    assert local_times(made, "2026-11-22 00:00", "2026-11-28 00:00") == [
        "Mon 23 02:27",
        "Mon 23 14:27",
        "Thu 26 02:27",
        "Thu 26 14:27",
    ]


def test_every_so_many_days_counts_from_the_local_date_of_the_beginning() -> None:
    """23:30 in London is the next day in Berlin, whose dates are counted."""
    made = table("FREQ=DAILY;INTERVAL=3;BYHOUR=1;BYMINUTE=0", "Europe/Berlin", "2026-11-20 23:30")

    assert local_times(made, "2026-11-20 23:30", "2026-11-28 00:00") == [
        "Sat 21 01:00",
        "Tue 24 01:00",
        "Fri 27 01:00",
    ]


def test_every_so_many_days_goes_over_leap_days() -> None:
    made = table("FREQ=DAILY;INTERVAL=2;BYHOUR=0;BYMINUTE=0", begins_at="2028-02-26 00:00")

    assert local_times(made, "2028-02-26 00:00", "2028-03-02 12:00") == [
        "Mon 28 00:00",
        "Wed 01 00:00",
    ]


def test_weekdays_of_every_so_many_days() -> None:
    made = table("FREQ=DAILY;INTERVAL=2;BYDAY=MO;BYHOUR=5;BYMINUTE=0", begins_at="2026-11-24 00:00")

    assert local_times(made, "2026-11-24 00:00", "2026-12-31 00:00") == [
        "Mon 30 05:00",
        "Mon 14 05:00",
        "Mon 28 05:00",
    ]


def test_what_is_not_said_is_as_at_the_beginning() -> None:
    made = table("FREQ=WEEKLY", "UTC+08:00", "2026-11-25 20:17")

    assert local_times(made, "2026-11-25 20:00", "2026-12-09 00:00") == [
        "Thu 26 04:17",
        "Thu 03 04:17",
    ]


def test_nothing_is_due_before_the_beginning() -> None:
    made = table("FREQ=DAILY;BYHOUR=1,3;BYMINUTE=0", begins_at="2026-11-20 02:00")

    assert next_due(made, at(LONG_AGO)) == at("2026-11-20 03:00")
    assert latest_due(made, at("2026-11-20 02:59")) is None


def test_the_next_is_after_and_the_latest_may_be_now() -> None:
    made = table("FREQ=DAILY;BYHOUR=1;BYMINUTE=0")
    now = at("2026-11-20 01:00")

    assert next_due(made, now) == at("2026-11-21 01:00")
    assert next_due(made, now - timedelta(microseconds=1)) == now
    assert latest_due(made, now) == now
    assert latest_due(made, now - timedelta(microseconds=1)) == at("2026-11-19 01:00")


def test_a_time_that_does_not_exist_runs_at_the_next_instant_that_does() -> None:
    made = table("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin")

    assert local_times(made, "2026-03-28 00:00", "2026-03-30 12:00") == [
        "Sat 28 02:30",
        "Sun 29 03:00",
        "Mon 30 02:30",
    ]


def test_a_time_that_exists_twice_runs_once_the_first_time() -> None:
    made = table("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin")

    assert list(due_between(made, at("2026-10-24 12:00"), at("2026-10-26 00:00"))) == [
        at("2026-10-25 00:30")
    ]


def test_runs_that_a_change_of_the_clock_brings_together_are_one() -> None:
    """02:00 becomes 03:00: it and 03:00 are one; at :30, 02:30 comes too near to 01:30."""
    hours = "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE="

    assert local_times(
        table(hours + "0", "Europe/Berlin"), "2026-03-28 23:00", "2026-03-29 12:00"
    ) == ["Sun 29 01:00", "Sun 29 03:00"]
    assert local_times(
        table(hours + "30", "Europe/Berlin"), "2026-03-28 23:00", "2026-03-29 12:00"
    ) == ["Sun 29 01:30", "Sun 29 03:30"]


def test_a_change_of_half_an_hour_too() -> None:
    """02:15 becomes 02:30, which is three quarters of an hour after 01:15."""
    every_hour = ",".join(str(hour) for hour in range(24))
    made = table(f"FREQ=DAILY;BYHOUR={every_hour};BYMINUTE=15", "Australia/Lord_Howe")

    assert local_times(made, "2026-10-03 14:00", "2026-10-03 17:50") == [
        "Sun 04 01:15",
        "Sun 04 03:15",
        "Sun 04 04:15",
    ]


def test_a_day_that_is_skipped_is_due_at_its_end() -> None:
    """Samoa went from 29 to 31 December 2011."""
    made = table("FREQ=DAILY;BYHOUR=0,5;BYMINUTE=30", "Pacific/Apia")

    assert local_times(made, "2011-12-29 12:00", "2011-12-31 12:00") == [
        "Thu 29 05:30",
        "Sat 31 00:00",
        "Sat 31 05:30",
        "Sun 01 00:30",
    ]


def test_the_latest_where_a_clock_is_set_back_over_midnight() -> None:
    """Newfoundland set it back at one minute past midnight: its new day had begun."""
    made = table("FREQ=DAILY;BYHOUR=0;BYMINUTE=0", "America/St_Johns")
    midnight = datetime(2010, 11, 7, tzinfo=ZoneInfo("America/St_Johns")).astimezone(UTC)

    assert latest_due(made, midnight + timedelta(minutes=30)) == midnight


def test_what_was_left_out_is_known_whenever_one_asks() -> None:
    """In Paraguay midnight became 01:00: 23:30, and 01:30 an hour later; 00:30 is left out."""
    every_hour = ",".join(str(hour) for hour in range(24))
    made = table(f"FREQ=DAILY;BYHOUR={every_hour};BYMINUTE=30", "America/Asuncion")
    half_past = datetime(2020, 10, 4, 1, 30, tzinfo=made.zone).astimezone(UTC)

    for minutes in range(1, 60):
        now = half_past - timedelta(minutes=minutes)
        assert next_due(made, now) == half_past
        assert latest_due(made, now) == half_past - timedelta(hours=1)


@pytest.mark.parametrize(
    ("rule", "gap"),
    [
        ("FREQ=DAILY;BYHOUR=3;BYMINUTE=0", timedelta(days=1)),
        ("FREQ=DAILY;BYHOUR=3,5;BYMINUTE=0", timedelta(hours=22)),
        ("FREQ=DAILY;INTERVAL=5;BYHOUR=3,5;BYMINUTE=0", timedelta(days=5, hours=-2)),
        ("FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=3;BYMINUTE=0", timedelta(days=5)),
        ("FREQ=WEEKLY;BYDAY=SU;BYHOUR=3,23;BYMINUTE=0", timedelta(days=6, hours=4)),
        ("FREQ=DAILY;INTERVAL=2;BYDAY=MO,TU;BYHOUR=3;BYMINUTE=0", timedelta(days=8)),
    ],
)
def test_the_longest_gap(rule: str, gap: timedelta) -> None:
    assert longest_gap(table(rule, begins_at="2026-11-23 00:00"), at("2027-06-01 00:00")) == gap


def test_the_longest_gap_is_longer_in_the_night_when_the_clock_is_set_back() -> None:
    made = table("FREQ=DAILY;BYHOUR=3;BYMINUTE=0", "Europe/Berlin")

    assert longest_gap(made, at("2026-10-24 00:00")) == timedelta(hours=24)
    assert longest_gap(made, at("2026-10-24 12:00")) == timedelta(hours=25)
    # Its backup may still be under way.
    assert longest_gap(made, at("2026-10-25 02:10")) == timedelta(hours=25)
    assert longest_gap(made, at("2026-10-26 02:10")) == timedelta(hours=24)


def test_a_rule_that_is_never_due_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidPattern) as raised:
        table("FREQ=DAILY;INTERVAL=14;BYDAY=SA,MO;BYHOUR=3", begins_at="2026-11-26 00:00")

    why = raised.value.why
    assert "from 2026-11-26 on is always a Thursday, never one of Monday, Saturday" in why


def pattern(*rules: str) -> str:
    return "\n".join(f"RRULE:{rule}" for rule in rules)


def test_times_of_several_rules() -> None:
    made = checked_timetable(
        pattern(
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
            "FREQ=WEEKLY;BYDAY=FR;BYHOUR=14;BYMINUTE=0",
            "FREQ=WEEKLY;BYDAY=FR;BYHOUR=2;BYMINUTE=30",
        ),
        UTC,
        at(LONG_AGO),
    )

    assert local_times(made, "2026-11-26 00:00", "2026-11-29 00:00") == [
        "Thu 26 02:30",
        "Fri 27 02:30",
        "Fri 27 14:00",
        "Sat 28 02:30",
    ]


def test_a_day_has_24_times_at_most() -> None:
    every_hour = ",".join(str(hour) for hour in range(24))
    made = table(f"FREQ=DAILY;BYHOUR={every_hour};BYMINUTE=5")

    assert all(len(each) == 24 for each in made.times)


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (
            ["FREQ=DAILY;BYHOUR=1;BYMINUTE=0,30"],
            "Monday 01:00 and Monday 01:30 are 30 minutes apart",
        ),
        (["FREQ=DAILY;BYMINUTE=0,30"], "Monday 00:00 and Monday 00:30 are 30 minutes apart"),
        (
            ["FREQ=DAILY;BYHOUR=1,2;BYMINUTE=0,59"],
            "Monday 01:00 and Monday 01:59 are 59 minutes apart",
        ),
        (
            [
                f"FREQ=DAILY;BYHOUR={','.join(str(each) for each in range(24))};BYMINUTE=0",
                "FREQ=WEEKLY;BYDAY=SA;BYHOUR=23;BYMINUTE=30",
            ],
            "it runs 25 times on Saturday, at most 24",
        ),
        (
            ["FREQ=DAILY;BYHOUR=2;BYMINUTE=0", "FREQ=DAILY;BYHOUR=2;BYMINUTE=59"],
            "Monday 02:00 and Monday 02:59 are 59 minutes apart, at least 60",
        ),
        (
            ["FREQ=DAILY;BYHOUR=0;BYMINUTE=0", "FREQ=DAILY;BYHOUR=23;BYMINUTE=1"],
            "Monday 23:01 and Tuesday 00:00 are 59 minutes apart",
        ),
        (
            [
                "FREQ=WEEKLY;BYDAY=MO;BYHOUR=23;BYMINUTE=30",
                "FREQ=WEEKLY;BYDAY=TU;BYHOUR=0;BYMINUTE=0",
            ],
            "Monday 23:30 and Tuesday 00:00 are 30 minutes apart",
        ),
        (
            [
                "FREQ=WEEKLY;BYDAY=SU;BYHOUR=23;BYMINUTE=30",
                "FREQ=WEEKLY;BYDAY=MO;BYHOUR=0;BYMINUTE=29",
            ],
            "Sunday 23:30 and Monday 00:29 are 59 minutes apart",
        ),
        (
            ["FREQ=WEEKLY;BYHOUR=0;BYMINUTE=20", "FREQ=WEEKLY;BYDAY=FR;BYHOUR=23;BYMINUTE=30"],
            "Friday 23:30 and Saturday 00:20 are 50 minutes apart",
        ),
    ],
)
def test_times_that_are_too_many_or_too_near_are_named(rules: list[str], why: str) -> None:
    """The rule began on a Saturday."""
    with pytest.raises(InvalidPattern) as raised:
        checked_timetable(pattern(*rules), UTC, at(LONG_AGO))

    assert why in raised.value.why


@pytest.mark.parametrize(
    "rules",
    [
        [
            "FREQ=DAILY;INTERVAL=2;BYHOUR=0;BYMINUTE=0",
            "FREQ=DAILY;INTERVAL=2;BYHOUR=23;BYMINUTE=30",
        ],
        ["FREQ=WEEKLY;BYDAY=MO;BYHOUR=0;BYMINUTE=0", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=23;BYMINUTE=30"],
        ["FREQ=WEEKLY;BYDAY=SU;BYHOUR=23;BYMINUTE=30", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=0;BYMINUTE=30"],
    ],
)
def test_times_that_are_neighbours_of_nothing_near_are_taken(rules: list[str]) -> None:
    assert checked_timetable(pattern(*rules), UTC, at(LONG_AGO)) is not None
