"""When a collection begins by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from csbs.domain.collection import (
    PAUSE,
    RETRY_AFTER,
    CollectionFacts,
    Step,
    collection_due,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WANTED = CollectionFacts(wanted_since=NOW - timedelta(minutes=2))
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("facts", "in_use", "step", "why"),
    [
        (CollectionFacts(), False, Step.NOTHING, "nothing to free"),
        (CollectionFacts(), True, Step.NOTHING, "nothing to free"),
        (WANTED, False, Step.BEGIN, "since 2026-11-26 11:58"),
        (WANTED, True, Step.WAIT, "in use"),
        (replace(WANTED, ended_at=NOW - PAUSE + MOMENT), False, Step.WAIT, "a short while ago"),
        (replace(WANTED, ended_at=NOW - PAUSE), False, Step.BEGIN, "something to free"),
        (
            replace(WANTED, tried_at=NOW - RETRY_AFTER + MOMENT, why_not="it was cancelled"),
            False,
            Step.WAIT,
            "ended early: it was cancelled",
        ),
        (replace(WANTED, tried_at=NOW - RETRY_AFTER), False, Step.BEGIN, "something to free"),
        # A clock that was set back.
        (replace(WANTED, ended_at=NOW + PAUSE, tried_at=NOW + PAUSE), False, Step.BEGIN, "to free"),
        (CollectionFacts(wanted_since=NOW + PAUSE), False, Step.BEGIN, "to free"),
    ],
)
def test_what_is_decided(facts: CollectionFacts, in_use: object, step: Step, why: str) -> None:
    decision = collection_due(facts, NOW, in_use=bool(in_use))

    assert (decision.step, decision.alarm) == (step, False)
    assert why in decision.why


DAY = timedelta(days=1)


@pytest.mark.parametrize("in_use", [False, True])
@pytest.mark.parametrize(
    ("waits", "alarmed", "alarm"),
    [
        (7 * DAY - MOMENT, None, False),
        (7 * DAY, None, True),
        (8 * DAY, DAY - MOMENT, False),
        (8 * DAY, DAY, True),
        # A clock that was set back.
        (8 * DAY, -DAY, True),
    ],
)
def test_what_waits_for_seven_days_is_an_alarm_each_day(
    waits: timedelta, alarmed: timedelta | None, alarm: object, in_use: object
) -> None:
    facts = CollectionFacts(
        wanted_since=NOW - waits, alarmed_at=None if alarmed is None else NOW - alarmed
    )

    assert collection_due(facts, NOW, in_use=bool(in_use)).alarm is alarm
