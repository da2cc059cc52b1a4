"""Policies: what they protect, when they run, how long backups are kept; tags of servers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from csbs.documents.backups import BackupDocument
from csbs.documents.base import Body, Document, Page, Reference, Text, whole
from csbs.domain.backup import BackupState
from csbs.domain.due_run import RunKind
from csbs.domain.policy import RETENTION_MAX, Policy, Retention, Schedule, timetable_of
from csbs.domain.policy_run import PolicyRun, RunState
from csbs.domain.rpo import promised_age
from csbs.domain.schedule import due_between, longest_gap
from csbs.domain.spoken_rule import DAYS, spoken
from csbs.domain.tags import KEY_SIZE_MAX, TAGS_MAX, VALUE_SIZE_MAX

_SERVERS_MAX = 64
_TIMES_MAX = 24
#: How many of the times to come are shown.
_NEXT_MAX = 5
_LOOK_AHEAD = timedelta(days=800)

Number = Annotated[StrictInt, Field(ge=-1, le=RETENTION_MAX), BeforeValidator(whole)]
TimeOfDay = Annotated[str, Field(max_length=16)]
Times = Annotated[list[TimeOfDay], Field(max_length=_TIMES_MAX)]
Days = Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=len(DAYS))]
ServerNames = Annotated[list[Text], Field(max_length=_SERVERS_MAX)]
TagKey = Annotated[str, Field(min_length=1, max_length=KEY_SIZE_MAX)]
TagValue = Annotated[str, Field(max_length=VALUE_SIZE_MAX)]
TagMap = Annotated[dict[TagKey, TagValue], Field(max_length=TAGS_MAX)]


class RetentionBody(Body):
    """How long backups are kept; what is left out stays, -1 means no such rule.

    A backup stays if any rule keeps it; without any rule backups are kept for ever.
    """

    #: Keep for ever, whatever the others say.
    permanent: StrictBool | None = None
    max_backups: Number | None = None
    #: Keep those younger than so many days; or than so many months by the calendar.
    max_age_days: Number | None = None
    max_age_months: Number | None = None
    #: Keep the newest backup of each of so many days, weeks ...
    day_backups: Number | None = None
    week_backups: Number | None = None
    month_backups: Number | None = None
    year_backups: Number | None = None


class PolicyBody(Body):
    """What of a policy is set; what is left out stays as it is."""

    description: Text | None = None
    #: False: it runs only when somebody asks.
    enabled: StrictBool | None = None
    #: Times of the day, such as `02:30`; with `days` or `every_days` they say when it runs.
    at: Times | None = None
    #: Weekdays: `mon`, `tue` ...
    days: Days | None = None
    every_days: Annotated[StrictInt, BeforeValidator(whole)] | None = None
    #: Zone of the times, such as `Europe/Berlin`; empty: that of the region.
    timezone: Annotated[str, Field(max_length=64)] | None = None
    retention: RetentionBody | None = None
    #: Servers with all of these tags are bound by themselves; without any: all servers.
    auto_bind: TagMap | None = None


class NewPolicyBody(PolicyBody):
    """A policy to make; without `at` it runs only when somebody asks."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    #: By id, prefix or name.
    servers: ServerNames = Field(default_factory=list)


class PolicyChangeBody(PolicyBody):
    """What of a policy shall be another."""

    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    #: No server is bound by itself any more.
    stop_auto_bind: StrictBool = False


class ServersBody(Body):
    """Which servers of a policy are meant, by id, prefix or name."""

    servers: Annotated[list[Text], Field(min_length=1, max_length=_SERVERS_MAX)]


class PolicyRunBody(Body):
    """Which servers of a policy are backed up now; null: all of them."""

    servers: Annotated[list[Text], Field(min_length=1, max_length=_SERVERS_MAX)] | None = None


class TimesDocument(Document):
    """Times of some weekdays."""

    days: list[str]
    at: list[str]


class RetentionDocument(Document):
    """How long backups are kept; null: there is no such rule."""

    permanent: bool
    max_backups: int | None
    max_age_days: int | None
    max_age_months: int | None
    day_backups: int | None
    week_backups: int | None
    month_backups: int | None
    year_backups: int | None

    @classmethod
    def of(cls, retention: Retention) -> Self:
        """As it is."""
        return cls.model_validate(retention)


class ScheduleDocument(Document):
    """When a policy runs."""

    enabled: bool
    #: As it was given.
    pattern: str
    times: list[TimesDocument]
    every_days: int
    timezone: str
    next_run_at: datetime | None
    #: The next times at which it is due.
    next_due: list[datetime]
    #: The longest time between two neighbours: no backup is older, while all goes well.
    longest_gap_s: int
    #: How old the newest backup of a server may be (RPO); null while it is off, or never due.
    promise_s: int | None
    retention: RetentionDocument

    @classmethod
    def of(
        cls, schedule: Schedule, *, region_zone: str, rpo_grace: timedelta, at: datetime
    ) -> Self:
        """As it is at `at`."""
        table = timetable_of(schedule, region_zone)
        gap = longest_gap(table, at)
        promise = promised_age(gap, rpo_grace) if schedule.enabled else None
        coming = zip(due_between(table, at, at + _LOOK_AHEAD), range(_NEXT_MAX), strict=False)
        return cls(
            enabled=schedule.enabled,
            pattern=schedule.pattern,
            times=[TimesDocument(days=days, at=times) for days, times in spoken(table)],
            every_days=table.step_days,
            timezone=schedule.retention.timezone or region_zone,
            next_run_at=schedule.next_run_at,
            next_due=[due for due, _ in coming],
            longest_gap_s=int(gap.total_seconds()),
            promise_s=None if promise is None else int(promise.total_seconds()),
            retention=RetentionDocument.of(schedule.retention),
        )


class PolicyDocument(Document):
    """A policy."""

    id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    servers: list[Reference]
    #: Null: it runs only when somebody asks.
    schedule: ScheduleDocument | None
    #: See `PolicyBody`; null: no server is bound by itself.
    auto_bind: dict[str, str] | None
    tags: dict[str, str]

    @classmethod
    def of(cls, policy: Policy, *, region_zone: str, rpo_grace: timedelta, at: datetime) -> Self:
        """As it is at `at`."""
        rule = policy.auto_bind
        return cls(
            id=policy.id,
            name=policy.name,
            description=policy.description,
            created_at=policy.created_at,
            updated_at=policy.updated_at,
            servers=[Reference(id=each.id, name=each.called) for each in policy.servers],
            schedule=(
                ScheduleDocument.of(
                    policy.schedules[0], region_zone=region_zone, rpo_grace=rpo_grace, at=at
                )
                if policy.schedules
                else None
            ),
            auto_bind=None if rule is None else {tag.key: tag.value for tag in rule},
            tags={tag.key: tag.value for tag in policy.tags},
        )


class RunDocument(Document):
    """A run that the policy's schedule began."""

    id: str
    due_at: datetime
    kind: RunKind
    state: RunState
    note: str
    claimed_at: datetime
    ended_at: datetime | None
    #: How many of its backups are left, by their status.
    backups: dict[BackupState, int]

    @classmethod
    def of(cls, run: PolicyRun, backups: Mapping[BackupState, int]) -> Self:
        """As it is."""
        return cls(
            id=run.id,
            due_at=run.due_at,
            kind=run.kind,
            state=run.state,
            note=run.note,
            claimed_at=run.claimed_at,
            ended_at=run.ended_at,
            backups=dict(backups),
        )


class PolicyDetails(PolicyDocument):
    """A policy with its newest runs, newest first."""

    runs: list[RunDocument]


class PolicyList(Document):
    """Policies, oldest first."""

    policies: list[PolicyDocument]


class PolicyPage(PolicyList, Page):
    """Some of them."""


class BegunDocument(Document):
    """Backups of a run that somebody asked for."""

    policy: Reference
    backups: list[BackupDocument]


class ServerTagsBody(Body):
    """Tags that a server gets, and keys of those that are taken away."""

    tags: TagMap = Field(default_factory=dict)
    remove: ServerNames = Field(default_factory=list)


class ServerTagsDocument(Document):
    """A server's tags, and the policy that it belongs to."""

    server: Reference
    tags: dict[str, str]
    policy: Reference | None
