"""Policies: what retention and schedules become."""

from __future__ import annotations

import pytest

from csbs.domain.policy import (
    InvalidPolicy,
    NewSchedule,
    Retention,
    Schedule,
    changed_schedule,
    checked_description,
    checked_policy_name,
    new_schedule,
)
from csbs.domain.recurrence import Frequency
from csbs.testing.values import START

PATTERN = "RRULE:FREQ=DAILY;BYHOUR=1;BYMINUTE=0"


def schedule(**said: object) -> Schedule:
    return new_schedule(NewSchedule(pattern=PATTERN, retention=said), ids=("s", "t"), at=START)


def test_backups_are_kept_for_ever_where_nothing_is_said() -> None:
    assert schedule().retention == Retention(permanent=True)
    assert schedule(day_backups=3, timezone="UTC+01:00").retention.permanent is True
    assert schedule(permanent=False).retention == Retention(permanent=False)
    assert schedule(max_backups=3).retention == Retention(max_backups=3)


def test_a_schedule_keeps_its_pattern_to_the_letter_and_knows_what_it_means() -> None:
    made = schedule()

    assert made.pattern == PATTERN
    assert made.recurrence.frequency is Frequency.DAILY
    assert made.starts_at == START
    assert (made.id, made.trigger_id) == ("s", "t")


def test_a_change_keeps_what_it_does_not_say() -> None:
    present = schedule(max_backups=3)

    changed = changed_schedule(present, NewSchedule(enabled=False, retention={"max_age_days": 9}))

    assert changed.enabled is False
    assert changed.retention == Retention(max_backups=3, max_age_days=9)
    assert changed.pattern == PATTERN


def test_permanent_false_alone_says_nothing() -> None:
    present = schedule(permanent=True)

    changed = changed_schedule(present, NewSchedule(retention={"permanent": False}))

    assert changed.retention.permanent is True


def test_permanent_ends_when_a_limit_is_said_with_it() -> None:
    said = {"permanent": False, "max_backups": 5}

    changed = changed_schedule(schedule(permanent=True), NewSchedule(retention=said))

    assert changed.retention == Retention(permanent=False, max_backups=5)


@pytest.mark.parametrize("timezone", ["UTC+08:00", "UTC-03:30", "UTC+14:00"])
def test_time_zones(timezone: str) -> None:
    assert Retention(day_backups=1, timezone=timezone).checked().timezone == timezone


@pytest.mark.parametrize("timezone", ["", "UTC", "UTC+8", "UTC+15:00", "UTC+08:60", "UTC+08:00 "])
def test_time_zones_that_are_none(timezone: str) -> None:
    with pytest.raises(InvalidPolicy):
        Retention(day_backups=1, timezone=timezone).checked()


@pytest.mark.parametrize("name", ["a", "x" * 255, "nightly_2-b", "-", "每夜"])
def test_names(name: str) -> None:
    assert checked_policy_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, "a b", "a.b", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidPolicy):
        checked_policy_name(name)


@pytest.mark.parametrize("description", ["x" * 256, "a<b", "a>b"])
def test_descriptions_that_are_none(description: str) -> None:
    with pytest.raises(InvalidPolicy):
        checked_description(description)
