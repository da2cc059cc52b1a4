"""How old the newest backup of a server may be (RPO), and whether it is older.

A policy that runs by itself promises a backup that is no older than the longest time between two
neighbouring runs, and some grace for the run itself.

    promised since   |--------- promise --------|
    newest backup            |--------- promise --------|  now: broken

Counting begins with the newest backup, or where the policy began to promise, whatever is later: a
server that was bound today is not late because of the backup of last year, nor one whose policy
runs more often from today on.  What is broken is mended by a backup that is new enough, and by
nothing else, but that nothing is promised any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from csbs.domain.ids import PolicyId

#: A rule that is due more seldom than the calendar lasts promises nothing.
_GAP_MAX = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a policy that is on promises for each of its servers."""

    policy_id: PolicyId
    policy_name: str
    age_max: timedelta
    #: Another one: the policy promises something else from then on.
    terms: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoWatch:
    """What is remembered of a promise for a server."""

    policy_id: PolicyId
    policy_name: str
    terms: str
    #: When it was first seen.
    since: datetime
    promise_s: int
    #: When it was found broken; None while it is kept.
    broken_at: datetime | None = None


class Mended(StrEnum):
    """Why a promise is not broken any more."""

    #: There is a backup that is new enough.
    BACKED_UP = "backed_up"
    #: The server was unbound, or its policy switched off or deleted.
    NO_PROMISE = "no_promise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What follows from a look at a server."""

    #: To be remembered; None: nothing is promised.
    watch: RpoWatch | None
    #: It was found broken just now.
    broken: bool = False
    #: It was found mended just now.
    mended: Mended | None = None


def promised_age(gap: timedelta, grace: timedelta) -> timedelta | None:
    """How old the newest backup may be, if `gap` is the longest time between two neighbouring runs.

    None: a rule that is never due promises nothing.
    """
    return None if gap > _GAP_MAX else gap + grace


def judge(
    promise: Promise | None, watch: RpoWatch | None, newest_at: datetime | None, now: datetime
) -> Judgement:
    """What a look at a server finds; `newest_at`: the instant of its newest restorable backup."""
    was_broken = watch is not None and watch.broken_at is not None
    if promise is None:
        return Judgement(watch=None, mended=Mended.NO_PROMISE if was_broken else None)
    watch = _present(promise, watch, now)
    if was_broken:
        if newest_at is not None and now - newest_at <= promise.age_max:
            return Judgement(watch=replace(watch, broken_at=None), mended=Mended.BACKED_UP)
        return Judgement(watch=watch)
    counted_from = watch.since if newest_at is None else max(watch.since, newest_at)
    if now - counted_from > promise.age_max:
        return Judgement(watch=replace(watch, broken_at=now), broken=True)
    return Judgement(watch=watch)


def _present(promise: Promise, watch: RpoWatch | None, now: datetime) -> RpoWatch:
    """The watch under the promise as it is now."""
    # Counting never begins in the future: a clock was wrong.
    same = watch is not None and watch.terms == promise.terms and watch.since <= now
    return RpoWatch(
        policy_id=promise.policy_id,
        policy_name=promise.policy_name,
        terms=promise.terms,
        since=watch.since if watch is not None and same else now,
        promise_s=int(promise.age_max.total_seconds()),
        broken_at=None if watch is None else watch.broken_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RpoStatus:
    """How a server stands: for who looks."""

    server_id: str
    server_name: str
    #: None: the server belongs to no policy that runs by itself.
    policy_id: PolicyId | None = None
    policy_name: str | None = None
    promise_s: int | None = None
    newest_backup_at: datetime | None = None
    #: None: it was never backed up.
    age_s: int | None = None
    broken_at: datetime | None = None
    #: How long the last restore that was done took, from its begin; None: none was.
    last_restore_s: int | None = None
    last_restore_at: datetime | None = None

    @property
    def broken(self) -> bool:
        """Whether the promise is broken."""
        return self.broken_at is not None


def age_s(newest_at: datetime | None, now: datetime) -> int | None:
    """Whole seconds; a clock that was set back makes no negative age."""
    return None if newest_at is None else max(0, int((now - newest_at).total_seconds()))
