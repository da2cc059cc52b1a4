"""How fast a task goes, and how long it may still take."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.pace import EVIDENCE_S, WINDOW_S, Estimate, Pace

MB = 1_000_000
TOTAL = 1_000_000 * MB


def reports(
    pace: Pace, *, start_s: float, end_s: float, speed: float, done: float = 0, every_s: float = 0.1
) -> Iterator[tuple[float, float]]:
    """Reports at a constant speed; yields after each the time, and how much is done."""
    for turn in range(1, int((end_s - start_s) / every_s + 1e-9) + 1):
        now_s = start_s + turn * every_s
        pace.report(now_s, int(done + turn * every_s * speed), TOTAL)
        yield now_s, done + turn * every_s * speed


def followed(pace: Pace, **what: float) -> float:
    """All reports; returns how much is done then."""
    return max(done for _, done in reports(pace, **what))


def told(pace: Pace, now_s: float) -> Estimate:
    found = pace.estimate(now_s)
    assert found is not None
    return found


def test_nothing_is_told_without_evidence() -> None:
    pace = Pace()
    assert pace.estimate(100) is None
    for now_s, _ in reports(pace, start_s=100, end_s=101.9, speed=50 * MB):
        assert pace.estimate(now_s) is None
    assert now_s < 100 + EVIDENCE_S
    pace.report(102.5, 200 * MB, TOTAL)

    assert pace.estimate(102.5) is not None


def test_two_reports_are_no_evidence_however_long_ago() -> None:
    pace = Pace()
    pace.report(0, MB, TOTAL)
    pace.report(30, 2 * MB, TOTAL)

    assert pace.estimate(60) is None


@settings(max_examples=40)
@given(
    speed=st.floats(min_value=64 * 1024, max_value=5e9),
    every_s=st.floats(min_value=0.02, max_value=4),
    asked_s=st.floats(min_value=0, max_value=1),
)
def test_a_constant_speed_is_told_within_a_few_percent_from_the_first_seconds_on(
    speed: float, every_s: float, asked_s: float
) -> None:
    pace = Pace()
    until_s = max(3.0, 4 * every_s) + 20
    for now_s, done in reports(pace, start_s=0, end_s=until_s, speed=speed, every_s=every_s):
        found = pace.estimate(now_s + asked_s * every_s)
        if now_s < max(3.0, 4 * every_s):
            continue
        assert found is not None
        assert abs(found.bytes_per_s - speed) <= 0.05 * speed
        assert abs(found.left_s - (TOTAL - done) / speed) <= 0.05 * (TOTAL - done) / speed


def test_the_time_left_grows_as_long_as_nothing_happens() -> None:
    pace = Pace()
    followed(pace, start_s=0, end_s=20, speed=50 * MB)
    left = [told(pace, 20 + silence_s).left_s for silence_s in (1, 5, 20, 60, 600)]

    assert left == sorted(left)
    assert left[-1] > 50 * left[0]


def test_after_a_stall_the_speed_is_believed_again_within_the_window() -> None:
    pace = Pace()
    done = followed(pace, start_s=0, end_s=20, speed=50 * MB)
    followed(pace, start_s=80, end_s=80 + WINDOW_S + 1, speed=50 * MB, done=done)

    assert abs(told(pace, 81 + WINDOW_S).bytes_per_s - 50 * MB) < MB


@given(factor=st.floats(min_value=0.02, max_value=50))
def test_another_speed_is_followed_within_the_window(factor: float) -> None:
    pace, before = Pace(), 50 * MB
    done = followed(pace, start_s=0, end_s=30, speed=before)
    speeds = []
    after = factor * before
    for now_s, _ in reports(pace, start_s=30, end_s=31 + WINDOW_S, speed=after, done=done):
        speeds.append(told(pace, now_s).bytes_per_s)

    assert abs(speeds[-1] - after) <= 0.05 * after
    assert min(before, after) - 2 <= min(speeds)
    assert max(speeds) <= max(before, after) + 2


def test_no_window_holds_more_than_some_reports() -> None:
    pace = Pace()
    followed(pace, start_s=0, end_s=20, speed=50 * MB, every_s=0.001)

    assert len(pace._reports) < 3 * WINDOW_S / 0.1


def test_a_total_that_grows_leaves_more_to_do() -> None:
    pace = Pace()
    done = int(followed(pace, start_s=0, end_s=20, speed=50 * MB))
    before = told(pace, 20).left_s
    pace.report(20, done, 2 * TOTAL)

    assert told(pace, 20).left_s > 1.9 * before


def test_less_than_before_is_another_beginning() -> None:
    pace = Pace()
    followed(pace, start_s=0, end_s=20, speed=50 * MB)
    pace.report(20.1, 0, TOTAL)

    assert pace.estimate(25) is None
