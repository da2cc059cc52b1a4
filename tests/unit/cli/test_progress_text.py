"""What a person reads of a task that runs."""

from __future__ import annotations

import pytest

from csbs.cli.output import about, progress_text, rate

GIB = 1024**3


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((0, 0, None, None), ""),
        ((0, GIB, None, None), "0 B of 1.0 GiB"),
        ((GIB, 3 * GIB, 120_000_000, 18.0), "1.0 GiB of 3.0 GiB, 120 MB/s, about 20 s left"),
        ((GIB, GIB, 120_000_000, 0.0), "1.0 GiB of 1.0 GiB"),
    ],
)
def test_as_much_is_told_as_is_known(
    known: tuple[int, int, int | None, float | None], expected: str
) -> None:
    assert progress_text(*known) == expected


@pytest.mark.parametrize(
    ("bytes_per_s", "expected"),
    [(0, "0 B/s"), (999, "999 B/s"), (64_500, "64 KB/s"), (120e6, "120 MB/s"), (2.5e9, "2.5 GB/s")],
)
def test_a_speed_is_told_as_a_limit_is_given(bytes_per_s: float, expected: str) -> None:
    assert rate(int(bytes_per_s)) == expected


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [
        (0, "about 5 s"),
        (18, "about 20 s"),
        (54.9, "about 55 s"),
        (55, "about 1 min"),
        (89, "about 1 min"),
        (100, "about 2 min"),
        (3600, "about 1 h"),
        (2 * 3600 + 9 * 60, "about 2 h 10 min"),
        (23 * 3600 + 3599, "about 1 d"),
        (5 * 86400, "about 5 d"),
    ],
)
def test_an_estimate_is_no_finer_than_anybody_can_know_it(left_s: float, expected: str) -> None:
    assert about(left_s) == expected
