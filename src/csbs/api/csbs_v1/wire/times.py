"""Times as CSBS v1 writes them: UTC without a zone, since strict clients fail at a ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(instant: datetime | None) -> str | None:
    """Such as ``2031-05-06T07:08:09.123456``."""
    return None if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def trigger_time_text(instant: datetime) -> str:
    """Such as ``2031-05-06 07:08:09``: a blank, and no fraction."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def parse_time(text: str) -> datetime:
    """A time of a filter, in one of the forms of ISO 8601; without a zone it is UTC.

    Raises `ValueError`.
    """
    instant = datetime.fromisoformat(text.strip())
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
