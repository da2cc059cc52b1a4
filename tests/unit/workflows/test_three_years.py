"""Three years of a policy by a clock of the test: schedule, expiry and catalog are the real ones.

Beside them runs an oracle that shares nothing with them: it knows local dates as texts, and throws
away what no rule names.  After each run both must have kept the same backups.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from csbs.domain.backup import BackupState
from csbs.domain.policy import Policy, timetable_of
from csbs.domain.schedule import due_between
from tests.unit.workflows.expiry_lab import ExpiryLab

#: Its clock is changed at the hour of the runs.
ZONE = "America/New_York"
PATTERN = "RRULE:FREQ=WEEKLY;BYDAY=SU,WE;BYHOUR=2;BYMINUTE=30"
YEARS = timedelta(days=3 * 365 + 1)
RETENTION: dict[str, object] = {
    "max_backups": 5,
    "max_age_days": 20,
    "week_backups": 6,
    "month_backups": 8,
    "year_backups": 3,
    "timezone": ZONE,
}


class Known(NamedTuple):
    """A backup, as the oracle knows it."""

    at: datetime
    id: str
    kind: str


class Oracle:
    """What is kept, by hand."""

    def __init__(self) -> None:
        self.known: set[Known] = set()

    def expire(self, now: datetime) -> None:
        good = sorted((each for each in self.known if each.kind == "good"), reverse=True)
        bad = sorted((each for each in self.known if each.kind == "bad"), reverse=True)
        keep = {each for each in self.known if each.kind == "manual"}
        keep.update(good[:5])
        keep.update(each for each in good if (now - each.at).total_seconds() < 20 * 86400)
        for form, number in (("%G week %V", 6), ("%Y-%m", 8), ("%Y", 3)):
            seen: list[str] = []
            for each in good:
                name = each.at.astimezone(ZoneInfo(ZONE)).strftime(form)
                if name not in seen:
                    seen.append(name)
                    if len(seen) <= number:
                        keep.add(each)
        keep.update(each for each in bad[:10] if self._is_of_last_month(each, now))
        self.known &= keep

    def _is_of_last_month(self, bad: Known, now: datetime) -> bool:
        then, today = (each.astimezone(ZoneInfo(ZONE)) for each in (bad.at, now))
        months = (today.year - then.year) * 12 + today.month - then.month
        # A month ago is the same day and time, or the end of that month.
        last_day = (then.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        today_then = (min(today.day, last_day.day), today.time())
        return months == 0 or (months == 1 and (then.day, then.time()) > today_then)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ExpiryLab]:
    made = ExpiryLab(tmp_path)
    yield made
    made.close()


def is_away(now: datetime) -> bool:
    """Some weeks in which the policy is off, and some in which its server is not bound."""
    return now.year == 2027 and now.month in {3, 8}


def test_three_years_keep_what_an_oracle_keeps(lab: ExpiryLab) -> None:
    policy = lab.policy("s1", pattern=PATTERN, retention=RETENTION)
    oracle, source = Oracle(), random.Random(3)
    begin, away, runs = lab.now, False, 0
    table = timetable_of(policy.schedules[0], "UTC")
    for due_at in due_between(table, begin, begin + YEARS):
        lab.now = due_at
        if is_away(due_at) != away:
            away = not away
            policy = _let_go_or_come(lab, policy, away=away)
        runs += 1
        _make(lab, policy, oracle, source.choice(["good"] * 12 + ["bad", "bad", "manual"]))
        lab.expire()
        lab.delete()
        if not away:
            oracle.expire(lab.now)
        assert {each.id for each in lab.backups()} == {each.id for each in oracle.known}

    assert runs == 2 * 156 + 1
    assert lab.backups()[0].created_at < datetime(2027, 1, 1, tzinfo=UTC)
    assert len(lab.deletions()) > 200


def _let_go_or_come(lab: ExpiryLab, policy: Policy, *, away: bool) -> Policy:
    if lab.now.month == 3 or (lab.now.month == 4 and not away):
        return lab.change(policy, enabled=not away)
    return lab.change(policy, servers=[] if away else [lab.bound("s1")])


def _make(lab: ExpiryLab, policy: Policy, oracle: Oracle, kind: str) -> None:
    """What the run made; while the policy is off or the server unbound somebody made it by hand."""
    if is_away(lab.now):
        kind = "manual"
    made = lab.make(
        policy,
        state=BackupState.ERROR if kind == "bad" else BackupState.AVAILABLE,
        auto=kind != "manual",
    )
    oracle.known.add(Known(made.created_at, made.id, kind))
