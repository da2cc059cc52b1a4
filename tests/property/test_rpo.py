"""The rule of RPO against a history that is replayed: events tell what counting tells."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.ids import PolicyId
from csbs.domain.rpo import Mended, Promise, RpoWatch, judge
from csbs.testing.values import START

MINUTE = timedelta(minutes=1)

#: Minutes that pass before each thing; what happens: a look, a backup, the policy goes off or on,
#: its promise becomes another one.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.one_of(
            st.sampled_from(["backup", "off", "on", "lost"]),
            st.integers(30, 400),
        ),
    ),
    max_size=40,
)


def _promise(minutes: int) -> Promise:
    return Promise(
        policy_id=PolicyId("p"),
        policy_name="p",
        age_max=minutes * MINUTE,
        terms=str(minutes),
    )


class _Oracle:
    """Counts by brute force, minute by minute, what a promise means."""

    def __init__(self) -> None:
        self.promise: int | None = None
        self.backups: list[datetime] = []
        #: Minutes since the present promise was seen first.
        self.seen_at: datetime | None = None
        self.broken = False

    def look(self, now: datetime, promise: int | None) -> str:
        """What this look should tell."""
        if promise is None:
            told = "no_promise" if self.broken else ""
            self.promise = self.seen_at = None
            self.broken = False
            return told
        if promise != self.promise or self.seen_at is None:
            self.promise, self.seen_at = promise, now
        newest = max(self.backups, default=None)
        new_enough = newest is not None and newest >= now - promise * MINUTE
        if self.broken:
            self.broken = not new_enough
            return "" if self.broken else "backed_up"
        given_time = self.seen_at >= now - promise * MINUTE
        self.broken = not (new_enough or given_time)
        return "broken" if self.broken else ""


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_a_replayed_history_tells_what_counting_tells(
    steps: list[tuple[int, str | int]],
) -> None:
    now, oracle = START, _Oracle()
    promise: int | None = 60
    is_on = True
    watch: RpoWatch | None = None
    told: list[str] = []
    for minutes, what in steps:
        now += minutes * MINUTE
        if what == "backup":
            oracle.backups.append(now)
        elif what == "lost":
            oracle.backups = oracle.backups[:-1]
        elif isinstance(what, int):
            promise = what
        else:
            is_on = what == "on"
        present = promise if is_on else None
        newest = max(oracle.backups, default=None)
        found = judge(None if present is None else _promise(present), watch, newest, now)
        event = "broken" if found.broken else (found.mended or "")
        assert event == oracle.look(now, present)
        watch = found.watch
        assert (watch is not None and watch.broken_at is not None) == oracle.broken
        # Looking again at the same moment finds nothing new.
        again = judge(None if present is None else _promise(present), watch, newest, now)
        assert (again.watch, again.broken, again.mended) == (watch, False, None)
        if event:
            told.append(event)
    # One after the other: broken, mended, broken ...
    assert told[::2] == ["broken"] * len(told[::2])
    assert all(each in set(Mended) for each in told[1::2])
