"""Whether a clock goes as time does: a pure decision, for who does what cannot be undone.

By a clock that is ahead every backup is old.  A host begins with one that is wrong now and then,
until it is corrected some minutes later; or somebody sets it by mistake.  So a clock that was set
forward is not trusted for a while, and neither is one that is far ahead of all that is known at the
start.  One that was set back is: it makes nothing older.

    clock      |----|----|              set forward       |----|----|----|
    trusted    yes  yes  yes            no                no   no   yes: an hour has passed
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

#: Time servers correct by less, again and again; whoever counts in days need not care.
JUMP_MAX = timedelta(minutes=5)
#: A service that did not run for so long, or whose clock is ahead: nobody can tell.
UNKNOWN_MAX = timedelta(days=1)
#: So long after its start a host has asked for the time, and a person seen a mistake.
WAIT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWatch:
    """A clock as it was last looked at."""

    now: datetime
    #: Of the time that nobody sets.
    monotonic_s: float
    #: By that time too.
    trusted_from_s: float

    @property
    def trusted(self) -> bool:
        """Whether what cannot be undone may be done by this clock."""
        return self.monotonic_s >= self.trusted_from_s


def first_look(known_at: datetime | None, now: datetime, monotonic_s: float) -> ClockWatch:
    """At the start; `known_at` is the last instant that is known to have been."""
    unknown = known_at is not None and now - known_at > UNKNOWN_MAX
    trusted_from_s = monotonic_s + (WAIT_S if unknown else 0.0)
    return ClockWatch(now=now, monotonic_s=monotonic_s, trusted_from_s=trusted_from_s)


def next_look(watch: ClockWatch, now: datetime, monotonic_s: float) -> ClockWatch:
    """Some time later."""
    ahead = now - watch.now - timedelta(seconds=monotonic_s - watch.monotonic_s)
    seen = replace(watch, now=now, monotonic_s=monotonic_s)
    if ahead > JUMP_MAX:
        return replace(seen, trusted_from_s=monotonic_s + WAIT_S)
    if ahead < -JUMP_MAX:
        return replace(seen, trusted_from_s=monotonic_s)
    return seen
