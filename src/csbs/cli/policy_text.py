"""How commands show when policies run, and what they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csbs.documents.policies import RetentionDocument, ScheduleDocument

_WEEK_DAYS = 7
_SECONDS_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60
_HOURS_PER_DAY = 24


def when_text(schedule: ScheduleDocument | None) -> str:
    """Such as ``02:30,14:30 on mon,thu``."""
    if schedule is None:
        return "when asked"
    text = "; ".join(_days_text(each.days, each.at, schedule.every_days) for each in schedule.times)
    return text if schedule.enabled else f"off ({text})"


def keeps_text(retention: RetentionDocument) -> str:
    """Such as ``20 newest, 7 daily``."""
    rules = [
        f"{number} {what}"
        for number, what in (
            (retention.max_backups, "newest"),
            (retention.max_age_days, "days"),
            (retention.max_age_months, "months"),
            (retention.day_backups, "daily"),
            (retention.week_backups, "weekly"),
            (retention.month_backups, "monthly"),
            (retention.year_backups, "yearly"),
        )
        if number is not None
    ]
    return "all" if retention.permanent or not rules else ", ".join(rules)


def span_text(seconds: int) -> str:
    """Such as ``1 d 2 h``."""
    hours, minutes = divmod(seconds // _SECONDS_PER_MINUTE, _MINUTES_PER_HOUR)
    days, hours = divmod(hours, _HOURS_PER_DAY)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"))]
    return " ".join(each for each in parts if not each.startswith("0 ")) or "0 min"


def _days_text(days: list[str], at: list[str], every_days: int) -> str:
    times = ",".join(at)
    if len(days) < _WEEK_DAYS:
        # A pattern may say both.
        every = f" every {every_days} days, if that is" if every_days > 1 else ""
        return f"{times}{every} on {','.join(days)}"
    return f"{times} every {every_days} days" if every_days > 1 else f"{times} daily"
