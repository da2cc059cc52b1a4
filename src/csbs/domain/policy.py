"""Policies: which servers are backed up by themselves, when, and how long backups are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from csbs.domain.consistency import ApplicationMode
from csbs.domain.errors import Conflict, Invalid, NotFound, Refused
from csbs.domain.ids import DiskId, PolicyId, ProjectId, ServerId
from csbs.domain.schedule import Timetable, checked_timetable
from csbs.domain.tags import Tag
from csbs.domain.zones import UnknownZone, zone_of

NAME_SIZE_MAX = 255
DESCRIPTION_SIZE_MAX = 255
RETENTION_MAX = 99_999
_NAME = re.compile(rf"[\w-]{{1,{NAME_SIZE_MAX}}}")


@dataclass(eq=False)
class PolicyNotFound(NotFound):
    """No policy of the project has this id."""

    policy: str

    template = "there is no policy {0.policy!r}; `csbs policy list` shows them"


@dataclass(eq=False)
class PolicyNameTaken(Conflict):
    """Another policy of the project has this name."""

    name: str

    template = "there is a policy {0.name!r} already"


@dataclass(eq=False)
class InvalidPolicy(Invalid):
    """A policy cannot be so."""

    part: str
    why: str

    template = "{0.part}: {0.why}"


@dataclass(eq=False)
class ServerBound(Refused):
    """A server belongs to one policy at most."""

    server: str
    policy: str
    #: For people.
    server_name: str = ""
    policy_name: str = ""

    def __str__(self) -> str:
        """With names, as far as they are known, and the way out."""
        server = self.server_name or self.server
        if not self.policy_name:
            return f"server {server} is bound to another policy already"
        return (
            f"server {server} is bound to policy {self.policy_name} already; "
            f"`csbs policy unbind {self.policy_name} {server}` lets it go"
        )


@dataclass(eq=False)
class TooManyPolicies(Refused):
    """The project has as many policies as it may have."""

    project: str
    policies_max: int

    template = "the project has {0.policies_max} policies already"


@dataclass(eq=False)
class PolicyBusy(Conflict):
    """A run of the policy has not ended."""

    policy: str

    template = "a run of policy {0.policy} has not ended"


@dataclass(eq=False)
class PolicyWithoutServers(Refused):
    """Nothing to run: no server of the policy can be backed up now."""

    policy: str
    why: str

    template = "no server of policy {0.policy} can be backed up: {0.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long backups are kept.  Numbers: None where there is no such rule.

    A backup stays if any rule keeps it (`csbs.domain.retention`).  `permanent` keeps all, whatever
    the others say.  The last four keep the newest backup of each of so many days, weeks, months and
    years of `timezone`, else of the region's.
    """

    permanent: bool = False
    max_backups: int | None = None
    max_age_days: int | None = None
    #: By the calendar; instead of days.
    max_age_months: int | None = None
    day_backups: int | None = None
    week_backups: int | None = None
    month_backups: int | None = None
    year_backups: int | None = None
    timezone: str = ""

    def checked(self) -> Retention:
        """Itself.  Raises `InvalidPolicy`."""
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= RETENTION_MAX:
                raise InvalidPolicy(name, f"use a number from 0 to {RETENTION_MAX}, or -1")
        if self.timezone:
            try:
                zone_of(self.timezone)
            except UnknownZone as error:
                raise InvalidPolicy("timezone", str(error)) from None
        if self.max_age_days is not None and self.max_age_months is not None:
            raise InvalidPolicy("max_age_months", "give max_age_days or max_age_months, not both")
        return self

    @property
    def keeps_for_ever(self) -> bool:
        """Whether nothing expires: it is said so, or no rule is set.

        Zero days, weeks, months and years are no rule: clients that know these rules send zeroes
        where they do not want them.
        """
        limits = (self.max_backups, self.max_age_days, self.max_age_months)
        limited = any(each is not None for each in limits) or any(self._periods)
        return self.permanent or not limited

    @property
    def _periods(self) -> tuple[int | None, ...]:
        return self.day_backups, self.week_backups, self.month_backups, self.year_backups


#: Who says one of them has no more use for the other.
_AGES = ("max_age_days", "max_age_months")
_NUMBERS = (
    "max_backups",
    "max_age_days",
    "max_age_months",
    "day_backups",
    "week_backups",
    "month_backups",
    "year_backups",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a policy runs by itself."""

    id: str
    name: str
    description: str
    #: False: only when somebody asks.
    enabled: bool
    retention: Retention
    trigger_id: str
    trigger_name: str
    #: As it was given, to the letter; see `csbs.domain.recurrence`.
    pattern: str
    #: What the pattern does not say is as in this moment.
    starts_at: datetime
    #: When the scheduler runs it next (UTC); None: never by itself.
    next_run_at: datetime | None = None


def timetable_of(schedule: Schedule, region_zone: str) -> Timetable:
    """When the schedule is due: in the zone of its policy, else in that of the region.

    Raises `InvalidPattern`, `UnknownZone`.
    """
    zone = zone_of(schedule.retention.timezone or region_zone)
    return checked_timetable(schedule.pattern, zone, schedule.starts_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundServer:
    """A server of a policy, as it was bound."""

    id: ServerId
    #: What kind of a resource the caller called it.
    kind: str
    name: str
    #: Disks that are left out of its backups.
    exclude_disks: frozenset[DiskId] = frozenset()
    #: What was said of it, that too; returned as it came.
    extra: Mapping[str, object] = field(default_factory=dict)
    #: Its own name, as csbs saw it last; `name` may be anything that the caller chose.
    own_name: str = field(default="", compare=False)

    @property
    def called(self) -> str:
        """How people know it."""
        return self.own_name or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What protects its servers."""

    id: PolicyId
    project_id: ProjectId
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    #: Returned as they came; what counts of them is `application`.
    parameters: Mapping[str, object]
    application: ApplicationMode = ApplicationMode.NO
    servers: tuple[BoundServer, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    tags: tuple[Tag, ...] = ()
    #: Servers with all of these tags are bound by themselves, those of no policy; None: none is.
    auto_bind: tuple[Tag, ...] | None = None

    def schedule(self, schedule_id: str) -> Schedule | None:
        """The schedule, if it is one of this policy."""
        return next((each for each in self.schedules if each.id == schedule_id), None)

    def server(self, server_id: ServerId) -> BoundServer | None:
        """The server, if it is bound to this policy."""
        return next((each for each in self.servers if each.id == server_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule as a caller gives it; None: not said."""

    name: str | None = None
    description: str | None = None
    enabled: bool | None = None
    #: Names of `Retention` that were given.
    retention: Mapping[str, object] = field(default_factory=dict)
    pattern: str | None = None
    #: Clients of the cloud name the zone of days, weeks, months and years; else the region's does.
    zone_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """A policy as a caller gives it."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    application: ApplicationMode = ApplicationMode.NO
    servers: Sequence[BoundServer] = ()
    #: At most one; a policy without any runs only when somebody asks.
    schedules: Sequence[NewSchedule] = ()
    tags: Collection[Tag] = ()
    #: See `Policy.auto_bind`.
    auto_bind: Collection[Tag] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """What a caller wants to have another value; None: unchanged."""

    name: str | None = None
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    #: Given with `parameters`.
    application: ApplicationMode = ApplicationMode.NO
    servers: Sequence[BoundServer] | None = None
    schedules: Sequence[NewSchedule] | None = None
    tags: Collection[Tag] | None = None
    auto_bind: Collection[Tag] | None = None
    #: No server is bound by itself any more.
    stop_auto_bind: bool = False


def checked_policy_name(name: str) -> str:
    """The name, if a policy may be called so.  Raises `InvalidPolicy`."""
    if not _NAME.fullmatch(name):
        raise InvalidPolicy("name", f"use 1 to {NAME_SIZE_MAX} letters, digits, _ and -")
    return name


def checked_description(description: str) -> str:
    """The description, if it may be one.  Raises `InvalidPolicy`."""
    if len(description) > DESCRIPTION_SIZE_MAX or set("<>") & set(description):
        raise InvalidPolicy(
            "description", f"use at most {DESCRIPTION_SIZE_MAX} characters without < and >"
        )
    return description


def new_schedule(
    wanted: NewSchedule, *, ids: tuple[str, str], at: datetime, region_zone: str
) -> Schedule:
    """A schedule that begins at `at`; `ids` are its own and its trigger's.

    Where nothing is said of retention, backups are kept for ever.  Raises `InvalidPolicy`,
    `InvalidPattern`.
    """
    if not wanted.pattern:
        raise InvalidPolicy("trigger", "a schedule needs a pattern")
    keeps = {"permanent", *_NUMBERS} & wanted.retention.keys()
    said = dict(wanted.retention) if keeps else {**wanted.retention, "permanent": True}
    schedule = Schedule(
        id=ids[0],
        name=_checked_schedule_name(wanted.name or ""),
        description=checked_description(wanted.description or ""),
        enabled=wanted.enabled is not False,
        retention=_checked_retention(
            Retention(**said),  # type: ignore[arg-type]  # by the names of its fields
            wanted,
        ),
        trigger_id=ids[1],
        trigger_name="default",
        pattern=wanted.pattern,
        starts_at=at,
    )
    timetable_of(schedule, region_zone)
    return schedule


def changed_schedule(present: Schedule, wanted: NewSchedule, *, region_zone: str) -> Schedule:
    """The schedule with what was said; a trigger keeps the moment at which it began.

    Raises `InvalidPolicy`, `InvalidPattern`.
    """
    said = dict(wanted.retention)
    for age, other in (_AGES, _AGES[::-1]):
        if said.get(age) is not None:
            said.setdefault(other, None)
    name, description = wanted.name, wanted.description
    changed = replace(
        present,
        name=present.name if name is None else _checked_schedule_name(name),
        description=(
            present.description if description is None else checked_description(description)
        ),
        enabled=present.enabled if wanted.enabled is None else wanted.enabled,
        retention=_checked_retention(
            replace(present.retention, **said),  # type: ignore[arg-type]  # likewise
            wanted,
        ),
        pattern=wanted.pattern or present.pattern,
    )
    if (changed.pattern, changed.retention.timezone) != (
        present.pattern,
        present.retention.timezone,
    ):
        timetable_of(changed, region_zone)
    return changed


def _checked_retention(retention: Retention, wanted: NewSchedule) -> Retention:
    if wanted.zone_required and not retention.timezone:
        raise InvalidPolicy("timezone", "it is needed to keep backups by day, week or longer")
    return retention.checked()


def _checked_schedule_name(name: str) -> str:
    if len(name) > NAME_SIZE_MAX or set("<>") & set(name):
        raise InvalidPolicy(
            "scheduled_operations", f"a name has at most {NAME_SIZE_MAX} characters without < and >"
        )
    return name
