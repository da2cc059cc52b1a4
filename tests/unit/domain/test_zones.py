"""Time zones by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from csbs.domain.zones import UnknownZone, zone_names, zone_of

AT = datetime(2031, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("UTC", timedelta()),
        ("UTC+08:00", timedelta(hours=8)),
        ("UTC-03:30", -timedelta(hours=3, minutes=30)),
        ("UTC+14:00", timedelta(hours=14)),
        ("UTC-12:00", -timedelta(hours=12)),
        ("Europe/Berlin", timedelta(hours=2)),
        ("Asia/Shanghai", timedelta(hours=8)),
        ("America/Argentina/Buenos_Aires", -timedelta(hours=3)),
    ],
)
def test_a_zone_has_its_offset(name: str, offset: timedelta) -> None:
    assert AT.astimezone(zone_of(name)).utcoffset() == offset


def test_every_zone_of_the_data_base_can_be_had() -> None:
    names = zone_names()

    assert len(names) > 500
    assert all(AT.astimezone(zone_of(name)).utcoffset() is not None for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "Europe",
        "europe/berlin",
        "../zones",
        "/etc/localtime",
        "UTC+8",
        "UTC+15:00",
        "UTC+14:01",
        "UTC-12:30",
        "UTC+08:60",
        "UTC+08:00 ",
        "utc+08:00",
    ],
)
def test_what_is_no_zone_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UnknownZone, match=r"UTC\+08:00 or Europe/Berlin"):
        zone_of(name)
