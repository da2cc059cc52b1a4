"""When a promise is broken, and when it is mended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from csbs.domain.ids import PolicyId
from csbs.domain.rpo import Mended, Promise, RpoWatch, age_s, judge
from csbs.testing.values import START

DAILY = Promise(
    policy_id=PolicyId("p"), policy_name="daily", age_max=timedelta(hours=25), terms="daily"
)
HOURLY = replace(DAILY, policy_name="hourly", age_max=timedelta(hours=2), terms="hourly")


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def watch(*, since: float = 0, broken: float | None = None, promise: Promise = DAILY) -> RpoWatch:
    return RpoWatch(
        policy_id=promise.policy_id,
        policy_name=promise.policy_name,
        terms=promise.terms,
        since=at(since),
        promise_s=int(promise.age_max.total_seconds()),
        broken_at=None if broken is None else at(broken),
    )


#: What is known, the newest backup, now; and whether it is broken.
ROWS: list[tuple[str, RpoWatch | None, float | None, float, bool]] = [
    ("bound just now, never backed up", None, None, 100, False),
    ("bound just now, with an old backup", None, 0, 100, False),
    ("never backed up, within the promise", watch(), None, 25, False),
    ("never backed up, beyond it", watch(), None, 25.01, True),
    ("backed up within it", watch(), 10, 35, False),
    ("backed up, beyond it", watch(), 10, 35.01, True),
    ("bound later than backed up", watch(since=20), 1, 45, False),
    ("bound later than backed up, beyond", watch(since=20), 1, 45.01, True),
    ("a backup of the future", watch(), 60, 50, False),
]


@pytest.mark.parametrize(
    ("known", "newest", "now", "broken"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_promise_is_broken_by_age(
    known: RpoWatch | None, newest: float | None, now: float, *, broken: bool
) -> None:
    found = judge(DAILY, known, None if newest is None else at(newest), at(now))

    assert found.broken is broken
    assert found.mended is None
    assert found.watch is not None
    assert found.watch.broken_at == (at(now) if broken else None)


def test_what_is_broken_is_told_of_once() -> None:
    broken = watch(broken=30)

    assert judge(DAILY, broken, at(0), at(31)) == judge(DAILY, broken, None, at(99))
    assert not judge(DAILY, broken, at(0), at(31)).broken


def test_a_new_backup_mends_it() -> None:
    found = judge(DAILY, watch(broken=30), at(31), at(32))

    assert found.mended is Mended.BACKED_UP
    assert found.watch == watch()


def test_a_backup_that_is_too_old_itself_mends_nothing() -> None:
    found = judge(DAILY, watch(broken=30), at(31), at(31 + 25.01))

    assert found.mended is None
    assert found.watch == watch(broken=30)


def test_without_a_promise_nothing_is_broken() -> None:
    assert judge(None, None, None, at(99)).watch is None
    assert judge(None, watch(), at(0), at(99)).mended is None
    ended = judge(None, watch(broken=30), at(0), at(99))
    assert (ended.watch, ended.mended) == (None, Mended.NO_PROMISE)


def test_a_policy_that_runs_more_often_from_now_on_has_its_whole_time() -> None:
    changed = judge(HOURLY, watch(), at(0), at(20))
    assert not changed.broken
    assert changed.watch == watch(since=20, promise=HOURLY)

    assert not judge(HOURLY, changed.watch, at(0), at(22)).broken
    assert judge(HOURLY, changed.watch, at(0), at(22.01)).broken


def test_another_policy_does_not_mend_what_no_backup_does() -> None:
    other = replace(HOURLY, policy_id=PolicyId("q"))

    found = judge(other, watch(broken=30), at(0), at(31))

    assert found.mended is None
    assert found.watch is not None
    assert (found.watch.policy_id, found.watch.broken_at) == ("q", at(30))


def test_a_policy_that_promises_less_mends_it_if_the_backup_is_new_enough_for_that() -> None:
    weekly = replace(DAILY, age_max=timedelta(days=7), terms="weekly")

    assert judge(weekly, watch(broken=30), at(0), at(31)).mended is Mended.BACKED_UP
    assert judge(weekly, watch(broken=30), None, at(31)).mended is None


def test_a_clock_that_was_wrong_does_not_put_the_begin_into_the_future() -> None:
    found = judge(DAILY, watch(since=500), None, at(10))

    assert found.watch == watch(since=10)


def test_an_age_is_never_negative() -> None:
    assert age_s(None, at(1)) is None
    assert age_s(at(2), at(1)) == 0
    assert age_s(at(1), at(2)) == 3600
