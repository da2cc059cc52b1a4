from __future__ import annotations

from csbs.agent.meter import Meter
from csbs.domain.task import Progress


def test_reports_come_ten_times_a_second_and_at_the_end() -> None:
    now = 0.0
    reports: list[Progress] = []
    meter = Meter("reading vda", reports.append, monotonic=lambda: now)
    meter.expect(1000)
    for _ in range(1000):
        meter.done(1)
        now += 0.001
    meter.finish()

    assert 9 <= len(reports) <= 12
    assert reports[-1] == Progress("reading vda", 1000, 1000)
    assert meter.done_bytes == 1000


def test_the_total_may_grow() -> None:
    reports: list[Progress] = []
    meter = Meter("", reports.append, monotonic=lambda: 0.0)
    meter.expect(10)
    meter.done(10)
    meter.expect(5)
    meter.finish()

    assert [(each.done_bytes, each.total_bytes) for each in reports] == [(10, 10), (10, 15)]
