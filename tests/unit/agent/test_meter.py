from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from csbs.agent.meter import JobMeter, Meter
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


def progress(done_bytes: int, total_bytes: int) -> Progress:
    return Progress("", done_bytes, total_bytes)


def test_a_job_adds_up_its_disks_and_names_those_that_are_copied() -> None:
    reports: list[Progress] = []
    job = JobMeter("reading", ["vda", "vdb", "vdc"], reports.append)
    vdb = job.begin("vdb")
    vdb(progress(1, 10))
    vda = job.begin("vda")
    vda(progress(5, 100))
    vdb(progress(10, 10))
    job.end("vdb")
    vda(progress(100, 100))
    job.end("vda")

    assert [(each.doing, each.done_bytes, each.total_bytes) for each in reports] == [
        ("reading vdb", 1, 10),
        ("reading vda, vdb", 6, 110),
        ("reading vda, vdb", 15, 110),
        ("reading vda, vdb", 15, 110),
        ("reading vda", 110, 110),
        ("reading vda", 110, 110),
    ]


def test_a_disk_that_waits_counts_by_its_estimate_until_it_is_copied() -> None:
    reports: list[Progress] = []
    job = JobMeter("reading", ["vda", "vdb", "vdc"], reports.append)
    vda = job.begin("vda")
    job.estimate("vda", 1000)  # too late: its own copy knows better
    job.estimate("vdb", 50)
    vda(progress(10, 10))
    job.end("vda")
    vdb = job.begin("vdb")
    vdb(progress(5, 20))
    vdb(progress(40, 40))
    job.end("vdb")

    totals = [(each.done_bytes, each.total_bytes) for each in reports]
    assert totals == [(10, 60), (10, 60), (15, 60), (50, 60), (50, 50)]


def test_what_a_copy_did_that_begins_anew_stays_done() -> None:
    reports: list[Progress] = []
    job = JobMeter("reading", ["vda"], reports.append)
    job.begin("vda")(progress(60, 100))
    again = job.begin("vda")
    again(progress(0, 30))
    again(progress(30, 30))
    job.end("vda")

    totals = [(each.done_bytes, each.total_bytes) for each in reports]
    assert totals == [(60, 100), (60, 90), (90, 90), (90, 90)]


def test_one_report_is_made_at_a_time_and_the_last_one_is() -> None:
    reports: list[Progress] = []
    inside, go_on = threading.Event(), threading.Event()

    def report(made: Progress) -> None:
        if not reports:
            inside.set()
            assert go_on.wait(10)
        reports.append(made)

    job = JobMeter("reading", ["vda", "vdb"], report)
    vda, vdb = job.begin("vda"), job.begin("vdb")
    with ThreadPoolExecutor(2) as pool:
        pool.submit(vda, progress(1, 10))
        assert inside.wait(10)
        vdb(progress(7, 10))  # waits for nobody
        ending = pool.submit(job.end, "vdb")
        go_on.set()
        ending.result(10)

    assert [each.done_bytes for each in reports] == [1, 8]
