"""What is done about a due time, and where in the window a server's backup begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from csbs.domain.due_run import ON_TIME, RunKind, begins_at, decide, run_text
from csbs.domain.ids import ServerId
from csbs.domain.schedule import Timetable, checked_timetable
from csbs.domain.zones import zone_of

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOON = START + 12 * HOUR
DAILY = "RRULE:FREQ=DAILY;BYHOUR=12;BYMINUTE=0"
HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))


def table(pattern: str, zone: tzinfo = UTC) -> Timetable:
    return checked_timetable(pattern, zone, START)


def test_nothing_is_done_before_it_is_due() -> None:
    assert decide(table(DAILY), NOON, NOON - timedelta(microseconds=1)) is None
    assert decide(table(DAILY), None, NOON) is None


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=1), ON_TIME], ids=str)
def test_on_time_a_run_is_made(late: timedelta) -> None:
    due = decide(table(DAILY), NOON, NOON + late)

    assert due is not None
    assert (due.kind, due.due_at, due.next_run_at) == (RunKind.ON_TIME, NOON, NOON + 24 * HOUR)
    assert due.note == ""


def test_what_was_missed_is_made_up_for_once() -> None:
    due = decide(table(DAILY), NOON, NOON + timedelta(days=3, hours=2))

    assert due is not None
    assert (due.kind, due.due_at) == (RunKind.CATCH_UP, NOON + timedelta(days=3))
    assert due.next_run_at == NOON + timedelta(days=4)
    assert due.note == "catches up with 4 runs missed since 2026-01-01 12:00 UTC"


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        (HOUR + timedelta(seconds=1), RunKind.CATCH_UP),
        (HOUR, RunKind.CATCH_UP),
        (HOUR - timedelta(seconds=1), RunKind.SKIPPED),
        (timedelta(seconds=1), RunKind.SKIPPED),
    ],
    ids=["more than an hour", "an hour", "less than an hour", "a second"],
)
def test_nothing_is_made_up_for_when_the_next_run_is_near(left: timedelta, kind: RunKind) -> None:
    due = decide(table(DAILY), NOON, NOON + timedelta(days=1) - left)

    assert due is not None
    assert (due.kind, due.due_at, due.next_run_at) == (kind, NOON, NOON + timedelta(days=1))
    if kind is RunKind.SKIPPED:
        assert due.note == (
            "a run missed since 2026-01-01 12:00 UTC: the next run, due at 2026-01-02 12:00 UTC, "
            "stands for it"
        )


def test_a_run_on_time_stands_for_those_that_were_missed() -> None:
    due = decide(table(HOURLY), NOON, NOON + 3 * HOUR + MINUTE)

    assert due is not None
    assert (due.kind, due.due_at) == (RunKind.ON_TIME, NOON + 3 * HOUR)
    assert "3 runs missed since 2026-01-01 12:00 UTC" in due.note


@pytest.mark.parametrize(
    ("kind", "note", "told"),
    [
        (RunKind.ON_TIME, "", "due at 2026-01-01 12:00 UTC"),
        (RunKind.ON_TIME, "also for a run", "due at 2026-01-01 12:00 UTC; also for a run"),
        (RunKind.CATCH_UP, "catches up with a run", "catches up with a run"),
    ],
)
def test_a_run_is_told_with_its_time(kind: RunKind, note: str, told: str) -> None:
    assert run_text(NOON, kind, note) == told


def test_a_time_that_was_kept_counts_though_the_rule_knows_nothing_of_it() -> None:
    """The pattern was changed by a release, or the region's zone by a setting."""
    due = decide(table(DAILY, zone_of("Asia/Shanghai")), NOON, NOON)

    assert due is not None
    assert (due.due_at, due.next_run_at) == (NOON, START + 28 * HOUR)


def test_very_many_missed_times_are_not_counted_for_ever() -> None:
    due = decide(table(HOURLY), NOON, NOON + timedelta(days=5000))

    assert due is not None
    assert "100 runs or more" in due.note


def test_servers_are_spread_over_the_window_each_at_its_place() -> None:
    ids = [ServerId(f"server-{number}") for number in range(200)]

    def places(start: datetime) -> list[timedelta]:
        return [
            begins_at(each, start, window_s=600, next_run_at=start + 24 * HOUR) - start
            for each in ids
        ]

    first = places(NOON)

    assert first == places(NOON + 24 * HOUR)
    assert all(timedelta() <= each < timedelta(minutes=10) for each in first)
    for minute in range(10):
        count = sum(minute * MINUTE <= each < (minute + 1) * MINUTE for each in first)
        assert 5 <= count <= 40


def test_without_a_window_all_begin_at_once() -> None:
    assert begins_at(ServerId("s"), NOON, window_s=0, next_run_at=None) == NOON


def test_a_window_ends_long_before_the_next_run() -> None:
    ids = [ServerId(f"server-{number}") for number in range(200)]
    latest = max(begins_at(each, NOON, window_s=21_600, next_run_at=NOON + HOUR) for each in ids)

    assert NOON + 25 * MINUTE < latest < NOON + 30 * MINUTE
