"""When a collection of a repository begins by itself: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from csbs.domain.events import COLLECTION_LATE

#: A collection reads the maps of all backups: not after each single deletion.
PAUSE = timedelta(hours=1)
#: One that gave way or failed begins again so much later.
RETRY_AFTER = timedelta(minutes=5)
#: So long something may wait to be freed; then it is an alarm.
OVERDUE_AFTER = COLLECTION_LATE
#: And one alarm is followed by the next so much later.
ALARM_INTERVAL = timedelta(days=1)


class Step(StrEnum):
    """What to do now."""

    #: There is nothing to free.
    NOTHING = "nothing"
    WAIT = "wait"
    BEGIN = "begin"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """What is known of the collections of a project."""

    #: Since when there is something to free; None: there is nothing.
    wanted_since: datetime | None = None
    #: When the last one was begun, and what came of it where it did not come to its end.
    tried_at: datetime | None = None
    why_not: str = ""
    #: When the last one came to its end.
    ended_at: datetime | None = None
    #: When it was last told that one is overdue.
    alarmed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionDecision:
    """What to do now, and why."""

    step: Step
    why: str
    #: Something has waited to be freed for too long, and that was not told lately.
    alarm: bool = False


def collection_due(facts: CollectionFacts, now: datetime, *, in_use: bool) -> CollectionDecision:
    """Whether a collection begins; `in_use`: somebody holds a lease, or waits for one.

    Times that lie ahead are those of a clock that was set back: they put nothing off.
    """
    if facts.wanted_since is None:
        return CollectionDecision(step=Step.NOTHING, why="there is nothing to free")
    overdue = now - facts.wanted_since >= OVERDUE_AFTER
    alarm = overdue and not _is_within(facts.alarmed_at, ALARM_INTERVAL, now)
    for blocked, why in (
        (in_use, "the repository is in use"),
        (
            _is_within(facts.tried_at, RETRY_AFTER, now),
            f"the last one ended early: {facts.why_not}",
        ),
        (_is_within(facts.ended_at, PAUSE, now), "the last one was a short while ago"),
    ):
        if blocked:
            return CollectionDecision(step=Step.WAIT, why=why, alarm=alarm)
    return CollectionDecision(
        step=Step.BEGIN,
        why=f"there is something to free since {facts.wanted_since:%Y-%m-%d %H:%M}",
        alarm=alarm,
    )


def _is_within(at: datetime | None, span: timedelta, now: datetime) -> bool:
    return at is not None and at <= now < at + span
