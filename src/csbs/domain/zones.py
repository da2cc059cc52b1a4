"""Time zones by name: `UTC`, `UTC+08:00` as clients of the cloud write it, or a name of IANA.

The rules of IANA's zones come from the package `tzdata` alone, never from the host: machines of one
region agree on when a policy runs, and an old host does not run it at the hours of former years.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from csbs.domain.errors import Invalid

_SECOND = timedelta(seconds=1)
_MINUTES_PER_HOUR = 60
#: No place on earth is further from UTC.
_OFFSET_MIN, _OFFSET_MAX = timedelta(hours=-12), timedelta(hours=14)
_OFFSET = re.compile(r"UTC([+-])([01]\d):([0-5]\d)")


@dataclass(eq=False)
class UnknownZone(Invalid):
    """No time zone has this name."""

    name: str

    template = "there is no time zone {0.name!r}: write it like UTC+08:00 or Europe/Berlin"


@cache
def zone_names() -> frozenset[str]:
    """All names of IANA, those of former years too."""
    text = files("tzdata").joinpath("zones").read_text(encoding="ascii")
    return frozenset(text.split())


@cache
def zone_of(name: str) -> tzinfo:
    """The zone of this name.  Raises `UnknownZone`."""
    if name == "UTC":
        return UTC
    found = _OFFSET.fullmatch(name)
    if found is not None:
        size = timedelta(hours=int(found[2]), minutes=int(found[3]))
        offset = -size if found[1] == "-" else size
        if not _OFFSET_MIN <= offset <= _OFFSET_MAX:
            raise UnknownZone(name)
        return timezone(offset)
    # Looked up before it becomes a path.
    if name not in zone_names():
        raise UnknownZone(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def local_instant(zone: tzinfo, day: date, minute: int) -> datetime:
    """When that local time is (UTC): minutes of a day, on the clock on the wall.

    A time that does not exist is the next instant that does (02:30 becomes 03:00), one that exists
    twice is the first of the two.
    """
    wall = datetime.combine(day, time(*divmod(minute, _MINUTES_PER_HOUR)), tzinfo=zone)
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone) == wall:  # of one zone: the clocks on the wall are compared
        return instant
    # It is skipped: these two are on either side, by the clock after and before the change.
    early, late = wall.replace(fold=1).astimezone(UTC), instant
    while late - early > _SECOND:
        middle = early + (late - early) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone) > wall:
            late = middle
        else:
            early = middle
    return late
