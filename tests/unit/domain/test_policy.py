"""Policies: what retention and schedules become."""

from __future__ import annotations

from datetime import timedelta

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
    timetable_of,
)
from csbs.domain.recurrence import InvalidPattern
from csbs.domain.schedule import next_due
from csbs.testing.values import START

PATTERN = "RRULE:FREQ=DAILY;BYHOUR=1;BYMINUTE=0"


def schedule(**said: object) -> Schedule:
    return new_schedule(
        NewSchedule(pattern=PATTERN, retention=said), ids=("s", "t"), at=START, region_zone="UTC"
    )


def test_backups_are_kept_for_ever_where_nothing_is_said() -> None:
    assert schedule().retention == Retention(permanent=True)
    assert schedule(permanent=False).retention == Retention(permanent=False)
    assert schedule(max_backups=3).retention == Retention(max_backups=3)


def test_one_limit_is_enough_not_to_keep_for_ever() -> None:
    assert schedule(max_backups=3).retention.permanent is False
    assert schedule(day_backups=3, timezone="UTC+01:00").retention.permanent is False


def test_the_zone_of_a_policy_goes_before_that_of_the_region() -> None:
    made = schedule(day_backups=3, timezone="UTC+08:00")

    assert next_due(timetable_of(made, "UTC+02:00"), START) == START + timedelta(hours=17)


def test_a_pattern_that_never_runs_is_refused_when_it_comes_or_its_zone() -> None:
    never = "RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=FR;BYHOUR=1"  # `START` is a Thursday

    with pytest.raises(InvalidPattern, match="never runs"):
        changed_schedule(schedule(), NewSchedule(pattern=never), region_zone="UTC")
    with pytest.raises(InvalidPattern, match="never runs"):
        new_schedule(NewSchedule(pattern=never), ids=("s", "t"), at=START, region_zone="UTC")
    made = new_schedule(
        NewSchedule(pattern=never), ids=("s", "t"), at=START - timedelta(days=6), region_zone="UTC"
    )
    with pytest.raises(InvalidPattern, match="never runs"):
        changed_schedule(made, NewSchedule(retention={"timezone": "UTC-01:00"}), region_zone="UTC")


def test_a_schedule_keeps_its_pattern_to_the_letter_and_knows_what_it_means() -> None:
    made = schedule()

    assert made.pattern == PATTERN
    assert next_due(timetable_of(made, "UTC+02:00"), START) == START + timedelta(hours=23)
    assert made.starts_at == START
    assert (made.id, made.trigger_id) == ("s", "t")


def test_a_change_keeps_what_it_does_not_say() -> None:
    present = schedule(max_backups=3)

    changed = changed_schedule(
        present, NewSchedule(enabled=False, retention={"max_age_days": 9}), region_zone="UTC"
    )

    assert changed.enabled is False
    assert changed.retention == Retention(max_backups=3, max_age_days=9)
    assert changed.pattern == PATTERN


def test_an_age_in_months_replaces_one_in_days_and_the_other_way() -> None:
    present = schedule(max_age_days=30, max_backups=3)

    in_months = changed_schedule(
        present, NewSchedule(retention={"max_age_months": 3}), region_zone="UTC"
    )
    in_days = changed_schedule(
        in_months, NewSchedule(retention={"max_age_days": 7}), region_zone="UTC"
    )
    same = changed_schedule(
        in_months, NewSchedule(retention={"max_age_days": None}), region_zone="UTC"
    )

    assert in_months.retention == Retention(max_age_months=3, max_backups=3)
    assert in_days.retention == Retention(max_age_days=7, max_backups=3)
    assert same == in_months


def test_an_age_in_days_and_in_months_contradict_each_other() -> None:
    with pytest.raises(InvalidPolicy, match="give max_age_days or max_age_months, not both"):
        schedule(max_age_days=30, max_age_months=1)


def test_backups_are_kept_for_ever_where_no_rule_is_set() -> None:
    zone = "UTC+01:00"

    assert Retention().keeps_for_ever
    assert Retention(permanent=True, max_backups=1).keeps_for_ever
    assert Retention(day_backups=0, week_backups=0, timezone=zone).keeps_for_ever
    assert not Retention(max_backups=0).keeps_for_ever
    assert not Retention(max_age_days=0).keeps_for_ever
    assert not Retention(max_age_months=1).keeps_for_ever
    assert not Retention(year_backups=1, timezone=zone).keeps_for_ever


def test_what_was_kept_for_ever_ends_when_somebody_says_so() -> None:
    made = schedule(permanent=True, max_backups=3)

    changed = changed_schedule(made, NewSchedule(retention={"permanent": False}), region_zone="UTC")

    assert changed.retention == Retention(permanent=False, max_backups=3)


def test_permanent_ends_when_a_limit_is_said_with_it() -> None:
    said = {"permanent": False, "max_backups": 5}

    changed = changed_schedule(
        schedule(permanent=True), NewSchedule(retention=said), region_zone="UTC"
    )

    assert changed.retention == Retention(permanent=False, max_backups=5)


@pytest.mark.parametrize(
    "timezone", ["UTC+08:00", "UTC-03:30", "UTC+14:00", "UTC", "Asia/Shanghai"]
)
def test_time_zones(timezone: str) -> None:
    assert Retention(day_backups=1, timezone=timezone).checked().timezone == timezone


def test_days_are_those_of_the_region_where_no_zone_is_named() -> None:
    assert schedule(day_backups=7).retention == Retention(day_backups=7)


def test_clients_of_the_cloud_must_name_the_zone_of_days() -> None:
    definition = {"day_backups": 7}
    wanted = NewSchedule(pattern=PATTERN, retention=definition, zone_required=True)
    with pytest.raises(InvalidPolicy, match="timezone: it is needed"):
        new_schedule(wanted, ids=("s", "t"), at=START, region_zone="UTC")
    with pytest.raises(InvalidPolicy, match="timezone: it is needed"):
        changed_schedule(schedule(), wanted, region_zone="UTC")
    zoned = schedule(timezone="UTC+08:00")
    changed = changed_schedule(zoned, wanted, region_zone="UTC")
    assert changed.retention.day_backups == 7


@pytest.mark.parametrize("timezone", ["Asia", "UTC+8", "UTC+15:00", "UTC+08:60", "UTC+08:00 "])
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
