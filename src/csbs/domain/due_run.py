"""What is done about a due time, and when each server's backup of it begins: pure decisions.

on time      the run is made
late         csbs did not run, or the clock jumped: one run is made for all that was missed,
             unless the next due time is nearer than an hour: then that one stands for it
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from csbs.domain.ids import ServerId
from csbs.domain.schedule import Timetable, latest_due, next_due

#: Later than this is late: a service that is restarted, or has thousands of runs to begin, is not.
ON_TIME = timedelta(minutes=5)
#: A run this near stands for those that were missed.
NEAR = timedelta(hours=1)
#: No more missed times are counted than this.
_MISSED_MAX = 100
#: Of the time between two runs: those of one run have begun before the next is due.
_WINDOW_SHARE = 2
_HASH_SIZE = 8


class RunKind(StrEnum):
    """How a due time was answered."""

    ON_TIME = "on_time"
    CATCH_UP = "catch_up"
    #: No run: the next one is near.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """What is to be done now about a schedule."""

    #: The newest due time; those that were missed before it have no run of their own.
    due_at: datetime
    kind: RunKind
    #: For people who see the due time: why this run is, or is not; empty where that says all.
    note: str
    #: When the schedule is due again; None: never.
    next_run_at: datetime | None


def decide(table: Timetable, next_run_at: datetime | None, now: datetime) -> DueRun | None:
    """What is to be done about a schedule that was due at `next_run_at`; None: it is not due."""
    if next_run_at is None or next_run_at > now:
        return None
    # A rule that was changed may know nothing of the time that was kept.
    due_at = max(latest_due(table, now) or next_run_at, next_run_at)
    following = next_due(table, now)
    missed = _missed(table, next_run_at, due_at)
    if now - due_at <= ON_TIME:
        kind, note = RunKind.ON_TIME, ""
        if missed:
            note = f"also for {_times(missed)} missed since {_text(next_run_at)}"
    elif following is not None and following - now < NEAR:
        kind = RunKind.SKIPPED
        note = (
            f"{_times(missed + 1)} missed since {_text(next_run_at)}: the next run, due at "
            f"{_text(following)}, stands for it"
        )
    else:
        kind = RunKind.CATCH_UP
        note = f"catches up with {_times(missed + 1)} missed since {_text(next_run_at)}"
    return DueRun(due_at=due_at, kind=kind, note=note, next_run_at=following)


def run_text(due_at: datetime, kind: RunKind, note: str) -> str:
    """A run for people who see nothing of it but this; `note` as in `DueRun`."""
    if kind is not RunKind.ON_TIME:
        return note
    return "; ".join(filter(None, (f"due at {_text(due_at)}", note)))


def begins_at(
    server_id: ServerId, start: datetime, *, window_s: int, next_run_at: datetime | None
) -> datetime:
    """When the server's backup of a run begins: at `start`, or a while later.

    Servers are spread over a window by their ids, so that each has the same place in every run.
    The window ends long before the next run.
    """
    window = timedelta(seconds=window_s)
    if next_run_at is not None:
        window = min(window, max((next_run_at - start) / _WINDOW_SHARE, timedelta()))
    digest = hashlib.sha256(server_id.encode()).digest()[:_HASH_SIZE]
    share: float = int.from_bytes(digest, "big") / 256**_HASH_SIZE
    return start + window * share


def _missed(table: Timetable, first: datetime, due_at: datetime) -> int:
    """How many due times lie between: `first` counts, `due_at` does not."""
    count, each = 0, first
    while each < due_at and count < _MISSED_MAX:
        count += 1
        following = next_due(table, each)
        if following is None:
            break
        each = following
    return count


def _times(count: int) -> str:
    if count == 1:
        return "a run"
    return f"{count} runs" if count < _MISSED_MAX else f"{_MISSED_MAX} runs or more"


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
