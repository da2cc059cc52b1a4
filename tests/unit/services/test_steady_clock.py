"""What cannot be undone waits while a clock may be wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from csbs.domain.steady_clock import WAIT_S
from csbs.services.steady_clock import SteadyClock, while_trusted
from csbs.testing.fake_clock import FakeClock


class Lab:
    """A round that is made whenever the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.monotonic_s = 0.0
        self.made = 0
        steady = SteadyClock(self.clock, lambda: self.monotonic_s, None)
        self._round = while_trusted(steady, self._count)

    def _count(self, _stopping: object) -> None:
        self.made += 1

    def round(self, later_s: float) -> int:
        """How many were made, after so many seconds."""
        self.clock.advance(timedelta(seconds=later_s))
        self.monotonic_s += later_s
        self._round(lambda: False)
        return self.made


def test_no_round_is_made_until_a_clock_that_was_set_forward_is_trusted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab()
    assert lab.round(30) == 1
    lab.clock.advance(timedelta(days=365))
    assert lab.round(30) == 1
    assert lab.round(WAIT_S - 1) == 1
    assert lab.round(1) == 2
    assert caplog.text.count("for an hour") == 1
