"""Rates as people write them."""

from __future__ import annotations

import pytest

from csbs.domain.errors import InvalidRate
from csbs.domain.rate import parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50MB/s", 50_000_000),
        ("50 mb/s", 50_000_000),
        ("800KB", 800_000),
        ("1.5GiB/s", 1_610_612_736),
        ("64KiB/s", 65_536),
        ("100000B", 100_000),
    ],
)
def test_a_rate(text: str, expected: int) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "50", "-1MB/s", "50MB/h", "50Mb it", "5TB", "1KB/s"])
def test_what_is_none_is_named(text: str) -> None:
    with pytest.raises(InvalidRate) as caught:
        parse_rate(text)

    assert caught.value.object_name == text
