"""Which backups expire: rules by table, and all that never does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.ids import BackupId, ServerId
from csbs.domain.policy import Retention
from csbs.domain.retention import (
    ExpiryPlan,
    ExpiryRules,
    Rule,
    StoredBackup,
    Verdict,
    months_before,
    plan_expiry,
)
from csbs.domain.zones import zone_of

WEB = ServerId("web")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def backup(
    name: str,
    created_at: datetime,
    *,
    state: BackupState = BackupState.AVAILABLE,
    auto: bool = True,
    failed: FailedOperation | None = None,
    server: str = WEB,
    held: str = "",
) -> StoredBackup:
    return StoredBackup(
        server_id=ServerId(server),
        created_at=created_at,
        id=BackupId(name),
        state=state,
        auto_trigger=auto,
        failed=failed,
        held=held,
    )


def daily(count: int, hour: int = 3) -> list[StoredBackup]:
    """`b1` to `b<count>`, one each night; the last is of the day of `NOW`."""
    return [
        backup(f"b{each}", NOW.replace(hour=hour) - timedelta(days=count - each))
        for each in range(1, count + 1)
    ]


def plan(
    backups: Sequence[StoredBackup],
    retention: Retention,
    *,
    now: datetime = NOW,
    zone: tzinfo = UTC,
    enabled: bool = True,
    bound: frozenset[str] = frozenset({WEB}),
) -> ExpiryPlan:
    rules = ExpiryRules(
        retention=retention, enabled=enabled, bound=frozenset(ServerId(each) for each in bound)
    )
    made = plan_expiry(rules, backups, now, zone)
    verdicts = [*made.expired, *made.kept()]
    assert sorted(each.backup.id for each in verdicts) == sorted(each.id for each in backups)
    assert all(each.reasons for each in verdicts)
    assert not any(each.kept for each in made.expired)
    return made


def expired(made: ExpiryPlan) -> list[str]:
    return [each.backup.id for each in made.expired]


def kept(made: ExpiryPlan) -> list[str]:
    return sorted(each.backup.id for each in made.kept())


def rules_of(made: ExpiryPlan, name: str) -> list[Rule]:
    (found,) = (each for each in _all(made) if each.backup.id == name)
    return [each.rule for each in found.reasons]


def _all(made: ExpiryPlan) -> list[Verdict]:
    return [*made.expired, *made.kept()]


@pytest.mark.parametrize(
    ("retention", "stay"),
    [
        # FAQ 3.6: by number, the oldest goes first.
        (Retention(max_backups=7), 7),
        (Retention(max_backups=1), 1),
        (Retention(max_backups=0), 1),
        (Retention(max_backups=400), 100),
        # By age: 1 month, 3 months.
        (Retention(max_age_days=7), 7),
        (Retention(max_age_days=1), 1),
        (Retention(max_age_days=0), 1),
        (Retention(max_age_months=1), 31),
        (Retention(max_age_months=3), 92),
        # For ever.
        (Retention(permanent=True), 100),
        (Retention(permanent=True, max_backups=1, max_age_days=1), 100),
        (Retention(), 100),
        # Any rule that is set keeps.
        (Retention(max_backups=7, max_age_days=3), 7),
        (Retention(max_backups=3, max_age_days=7), 7),
        (Retention(max_backups=0, max_age_days=7), 7),
    ],
)
def test_how_many_of_a_hundred_nightly_backups_stay(retention: Retention, stay: int) -> None:
    made = plan(daily(100), retention)

    assert expired(made) == [f"b{each}" for each in range(1, 101 - stay)]


@pytest.mark.parametrize(
    ("retention", "names"),
    [
        (
            Retention(day_backups=3, timezone="UTC"),
            ["11-24", "11-25", "11-26"],
        ),
        # A week ends on Sunday: 15 and 22 November 2026.
        (Retention(week_backups=3, timezone="UTC"), ["11-15", "11-22", "11-26"]),
        (Retention(month_backups=3, timezone="UTC"), ["09-30", "10-31", "11-26"]),
        (Retention(year_backups=2, timezone="UTC"), ["11-26"]),
        (
            Retention(day_backups=2, week_backups=2, month_backups=2, timezone="UTC"),
            ["10-31", "11-22", "11-25", "11-26"],
        ),
        (
            Retention(max_backups=2, week_backups=2, timezone="UTC"),
            ["11-22", "11-25", "11-26"],
        ),
        (Retention(day_backups=0, max_backups=2, timezone="UTC"), ["11-25", "11-26"]),
    ],
)
def test_the_newest_of_each_period_stays(retention: Retention, names: list[str]) -> None:
    backups = daily(100)
    stay = set(kept(plan(backups, retention)))

    assert [f"{each.created_at:%m-%d}" for each in backups if each.id in stay] == names


def test_days_without_a_backup_do_not_count() -> None:
    backups = [each for each in daily(20) if each.id in {"b2", "b9", "b15", "b20"}]

    made = plan(backups, Retention(day_backups=3, timezone="UTC"))

    assert expired(made) == ["b2"]


def test_the_newest_of_a_day_is_by_the_local_date() -> None:
    """23:00 and 01:00 UTC are of one day in Shanghai."""
    late = backup("late", datetime(2026, 11, 24, 23, tzinfo=UTC))
    early = backup("early", datetime(2026, 11, 25, 1, tzinfo=UTC))
    retention = Retention(day_backups=2, timezone="UTC+08:00")

    assert expired(plan([late, early], retention, zone=zone_of("Asia/Shanghai"))) == ["late"]
    assert expired(plan([late, early], retention)) == []


def test_what_is_exactly_as_old_as_the_age_goes() -> None:
    at_the_age = backup("old", NOW - timedelta(days=7))
    younger = backup("young", NOW - timedelta(days=7) + timedelta(microseconds=1))

    made = plan([at_the_age, younger, *daily(1)], Retention(max_age_days=7))

    assert expired(made) == ["old"]


@pytest.mark.parametrize(
    ("now", "months", "then"),
    [
        ("2026-11-26 12:00", 1, "2026-10-26 12:00"),
        ("2026-03-31 12:00", 1, "2026-02-28 12:00"),
        ("2028-03-31 12:00", 1, "2028-02-29 12:00"),
        ("2026-01-15 12:00", 1, "2025-12-15 12:00"),
        ("2026-11-26 12:00", 12, "2025-11-26 12:00"),
        ("2026-11-26 12:00", 99_999, "0001-01-01 00:00"),
    ],
)
def test_months_go_by_the_calendar(now: str, months: int, then: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert months_before(at, months, UTC) == datetime.fromisoformat(then).replace(tzinfo=UTC)


@pytest.mark.parametrize("months", [24_310, 24_311, 24_312, 24_323, 99_999])
def test_months_beyond_the_calendar_keep_all(months: int) -> None:
    """East of Greenwich the first hours of the calendar are none in UTC."""
    at = datetime(2026, 11, 30, 23, tzinfo=UTC)

    assert months_before(at, months, zone_of("Asia/Shanghai")).year == 1


def test_months_go_by_the_local_clock() -> None:
    """Berlin is an hour earlier in UTC on the other side of a change of its clock."""
    at = datetime(2026, 11, 10, 12, tzinfo=UTC)

    assert months_before(at, 1, zone_of("Europe/Berlin")) == datetime(2026, 10, 10, 11, tzinfo=UTC)


def test_manual_backups_are_neither_counted_nor_removed() -> None:
    manual = [backup(f"m{each}", NOW - timedelta(minutes=each), auto=False) for each in (3, 2, 1)]
    old = backup("m0", NOW - timedelta(days=900), auto=False)

    made = plan([old, *daily(5), *manual], Retention(max_backups=2))

    assert expired(made) == ["b1", "b2", "b3"]
    assert rules_of(made, "m0") == [Rule.MANUAL]


@pytest.mark.parametrize("max_backups", [0, 1, 2])
def test_what_is_made_after_a_backup_of_a_clock_that_was_ahead_stays(max_backups: int) -> None:
    """Else it would pass for the newest, and each new one expire as soon as it is made."""
    ahead = backup("ahead", NOW + timedelta(days=365))

    made = plan([*daily(5), ahead], Retention(max_backups=max_backups))

    assert expired(made) == [f"b{each}" for each in range(1, 6 - max(max_backups, 1))]
    assert rules_of(made, "ahead") == [Rule.AHEAD]


@pytest.mark.parametrize(
    "state", [BackupState.PROTECTING, BackupState.RESTORING, BackupState.DELETING]
)
def test_backups_in_use_are_neither_counted_nor_removed(state: BackupState) -> None:
    backups = daily(5)
    backups[1] = backups[1]._replace(state=state)
    backups[4] = backups[4]._replace(state=state)

    made = plan(backups, Retention(max_backups=2))

    assert expired(made) == ["b1"]
    assert rules_of(made, "b2") == rules_of(made, "b5") == [Rule.IN_USE]


def test_backups_with_images_are_neither_counted_nor_removed() -> None:
    backups = daily(4)
    backups[0] = backups[0]._replace(held="an image was made from it")

    made = plan(backups, Retention(max_backups=2))

    assert expired(made) == ["b2"]
    assert [each.reasons for each in made.kept() if each.backup.id == "b1"] == [
        ((Rule.IN_USE, "an image was made from it"),)
    ]


def test_nothing_expires_while_the_policy_is_off() -> None:
    failed = backup("f", NOW - timedelta(days=90), state=BackupState.ERROR)

    made = plan([failed, *daily(5)], Retention(max_backups=1), enabled=False)

    assert expired(made) == []
    assert rules_of(made, "b1") == rules_of(made, "f") == [Rule.OFF]


def test_nothing_of_a_server_expires_while_it_is_not_bound() -> None:
    other = [
        each._replace(server_id=ServerId("db"), id=BackupId(f"d{each.id}")) for each in daily(3)
    ]

    made = plan([*other, *daily(3)], Retention(max_backups=1))

    assert expired(made) == ["b1", "b2"]
    assert rules_of(made, "db1") == [Rule.UNBOUND]


def test_each_server_is_counted_for_itself() -> None:
    other = [
        each._replace(server_id=ServerId("db"), id=BackupId(f"d{each.id}")) for each in daily(3)
    ]

    made = plan([*other, *daily(4)], Retention(max_backups=2), bound=frozenset({WEB, "db"}))

    assert expired(made) == ["db1", "b1", "b2"]


def test_the_newest_never_expires_however_old() -> None:
    made = plan([backup("only", NOW - timedelta(days=4000))], Retention(max_age_days=1))

    assert rules_of(made, "only") == [Rule.NEWEST]


def test_a_manual_backup_that_is_newer_does_not_let_the_newest_automatic_one_go() -> None:
    """The manual one may be deleted by hand at any moment."""
    manual = backup("m", NOW, auto=False)

    assert expired(plan([*daily(3), manual], Retention(max_backups=0))) == ["b1", "b2"]


def failures(count: int, *, days: float = 1) -> list[StoredBackup]:
    return [
        backup(
            f"f{each}",
            NOW - timedelta(days=days * (count - each)),
            state=BackupState.ERROR,
            failed=FailedOperation.BACKUP,
        )
        for each in range(1, count + 1)
    ]


@pytest.mark.parametrize("retention", [Retention(max_backups=1), Retention(permanent=True)])
def test_ten_failed_backups_stay(retention: Retention) -> None:
    made = plan([*failures(13), *daily(1)], retention)

    assert expired(made) == ["f1", "f2", "f3"]
    assert rules_of(made, "f1") == rules_of(made, "f13") == [Rule.FAILED]


def test_failed_backups_stay_a_month() -> None:
    made = plan([*failures(5, days=10), *daily(1)], Retention(max_backups=1))

    assert expired(made) == ["f1"]


def test_a_failed_backup_goes_when_it_is_just_a_month_old() -> None:
    backups = [each._replace(created_at=months_before(NOW, 1, UTC)) for each in failures(1)]

    assert expired(plan(backups, Retention(max_backups=1))) == ["f1"]


def test_failed_backups_are_not_counted() -> None:
    assert expired(plan([*failures(3), *daily(2)], Retention(max_backups=2))) == []


def test_a_backup_whose_deletion_failed_is_deleted_again() -> None:
    backups = daily(4)
    backups[0] = backups[0]._replace(state=BackupState.ERROR, failed=FailedOperation.DELETE)

    made = plan(backups, Retention(max_backups=3))

    assert expired(made) == ["b1"]
    assert rules_of(made, "b1") == [Rule.UNDELETED]


@pytest.mark.parametrize(
    "retention",
    [Retention(max_backups=4), Retention(max_age_days=30), Retention(permanent=True)],
)
def test_it_is_not_where_the_rules_would_keep_it_now(retention: Retention) -> None:
    backups = daily(4)
    backups[0] = backups[0]._replace(state=BackupState.ERROR, failed=FailedOperation.DELETE)

    made = plan(backups, retention)

    assert expired(made) == []
    assert rules_of(made, "b1") == [Rule.UNDELETED]


def test_a_backup_says_all_rules_that_keep_it() -> None:
    retention = Retention(
        max_backups=3, max_age_days=2, day_backups=2, month_backups=1, timezone="UTC"
    )

    made = plan(daily(10), retention)

    assert rules_of(made, "b10") == [Rule.NEWEST, Rule.NUMBER, Rule.AGE, Rule.DAY, Rule.MONTH]
    assert rules_of(made, "b8") == [Rule.NUMBER]
    assert rules_of(made, "b1") == [Rule.NONE]
    (newest,) = (each for each in made.kept() if each.backup.id == "b10")
    assert [each.detail for each in newest.reasons] == [
        "it is the newest of its server",
        "number 1 of the newest 3",
        "it is young enough",
        "the newest of 2026-11-26",
        "the newest of 2026-11",
    ]


def test_a_backup_that_goes_says_what_the_rules_are() -> None:
    retention = Retention(max_backups=2, max_age_days=1, week_backups=2, timezone="UTC")

    (first, *_) = plan(daily(10), retention).expired

    assert first.reasons[0].detail == (
        "no rule keeps it; kept are: the newest 2, those younger than 1 day, the newest of each "
        "of 2 weeks"
    )


def test_there_may_be_nothing() -> None:
    assert expired(plan([], Retention(max_backups=1))) == []
