"""How commands show when policies run, and what they keep.

Due times are shown in the zone of their policy: there they are the times that somebody asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csbs.documents.policies import RetentionDocument, RunDocument, ScheduleDocument

_WEEK_DAYS = 7
_SECONDS_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60
_HOURS_PER_DAY = 24
#: People say 73 hours over a weekend; more are days.
_HOURS_MAX = 99


def when_text(schedule: ScheduleDocument | None) -> str:
    """Such as ``02:30,14:30 on mon,thu, Europe/Berlin``."""
    if schedule is None:
        return "when asked"
    text = "; ".join(_days_text(each.days, each.at, schedule.every_days) for each in schedule.times)
    text = f"{text}, {schedule.timezone}"
    return text if schedule.enabled else f"off ({text})"


def due_texts(instants: Sequence[datetime], zone_name: str) -> list[str]:
    """Due times to the minute, in this zone."""
    from csbs.domain.zones import zone_of  # noqa: PLC0415  see cli.options

    zone = zone_of(zone_name)
    return [f"{each.astimezone(zone):%Y-%m-%d %H:%M}" for each in instants]


def backups_text(run: RunDocument) -> str:
    """Such as ``2 available, 1 error``: what is left of a run."""
    return ", ".join(f"{count} {status}" for status, count in run.backups.items()) or "-"


def note_text(run: RunDocument) -> str:
    """What is to be said of a run whose due time stands beside it."""
    return run.note or "on time"


def keeps_text(retention: RetentionDocument) -> str:
    """Such as ``20 newest, 7 daily``; zero of a day, week ... is no rule."""
    rules = [
        f"{number} {what}"
        for number, what in (
            (retention.max_backups, "newest"),
            (retention.max_age_days, "days"),
            (retention.max_age_months, "months"),
            (retention.day_backups or None, "daily"),
            (retention.week_backups or None, "weekly"),
            (retention.month_backups or None, "monthly"),
            (retention.year_backups or None, "yearly"),
        )
        if number is not None
    ]
    if not rules:
        return "all"
    told = ", ".join(rules)
    return f"all, for ever (else {told})" if retention.permanent else told


def span_text(seconds: int) -> str:
    """Such as ``25 h``, ``26 h 30 min`` or ``8 d 1 h``."""
    hours, minutes = divmod(seconds // _SECONDS_PER_MINUTE, _MINUTES_PER_HOUR)
    days, hours = divmod(hours, _HOURS_PER_DAY) if hours > _HOURS_MAX else (0, hours)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"))]
    return " ".join(each for each in parts if not each.startswith("0 ")) or "0 min"


def _days_text(days: list[str], at: list[str], every_days: int) -> str:
    times = ",".join(at)
    if len(days) < _WEEK_DAYS:
        # A pattern may say both.
        every = f" every {every_days} days, if that is" if every_days > 1 else ""
        return f"{times}{every} on {','.join(days)}"
    return f"{times} every {every_days} days" if every_days > 1 else f"{times} daily"
