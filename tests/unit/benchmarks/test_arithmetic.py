"""The benchmark's own sums, on numbers that a person can check."""

from __future__ import annotations

import pytest

from benchmarks.arithmetic import (
    RATIOS,
    Ratio,
    Sample,
    cpu_seconds,
    figures,
    middle,
    peak_lane,
    percentile,
    restore_vs_ceiling,
    spread,
    stored_bytes,
    timed,
)
from benchmarks.goals import GOALS, OWED, Goal


def took(*seconds: float) -> list[Sample]:
    return [Sample(seconds=each) for each in seconds]


def test_median_leaves_one_slow_round_out() -> None:
    assert middle(took(2.0, 100.0, 1.0)) == 2.0
    assert middle(took(1.0, 2.0, 4.0, 100.0)) == 3.0


def test_spread_is_the_whole_range_by_the_median() -> None:
    assert spread(took(4.0, 5.0, 7.0)) == pytest.approx(0.6)
    assert spread(took(3.0)) == 0


def test_speed_above_one_means_that_ours_is_faster() -> None:
    lanes = {"full": took(2.0, 2.0, 9.0), "restic": took(20.0, 1.0, 22.0)}
    assert figures(lanes, cores=2)["full_vs_restic"] == 10


def test_time_above_one_means_that_ours_is_slower() -> None:
    lanes = {"rescan": took(3.0), "read": took(2.0)}
    assert figures(lanes, cores=2)["rescan_vs_read"] == 1.5


def test_a_store_in_s3_is_compared_with_a_folder_by_speed() -> None:
    folder = {"full": took(4.0, 5.0, 6.0), "rescan": took(2.0), "restore": took(3.0)}
    s3 = {"full_s3": took(10.0, 9.0, 99.0), "rescan_s3": took(4.0), "restore_s3": took(2.0)}
    found = figures(folder | s3, cores=2)

    assert found["full_s3_vs_folder"] == 0.5
    assert found["rescan_s3_vs_folder"] == 0.5
    assert found["restore_s3_vs_folder"] == 1.5
    assert "full_s3_vs_folder" not in figures(folder, cores=2)
    assert {"full_s3_vs_folder", "restore_s3_vs_folder"} <= set(OWED)
    assert peak_lane({"full_s3": took(1.0)}) == "full_s3"


def test_live_backups_are_compared_with_live_backups() -> None:
    lanes = {"full": took(1.0), "full_live": took(2.0), "virtnbdbackup": took(6.0)}
    assert figures(lanes, cores=2)["full_vs_virtnbdbackup"] == 3


def test_encryption_that_costs_time_is_below_one() -> None:
    lanes = {"full": took(9.0, 8.0, 1.0), "encrypted_full": took(10.0, 10.0, 99.0)}
    assert figures(lanes, cores=2)["encrypted_vs_plain"] == 0.8
    assert not GOALS["encrypted_vs_plain"].holds(0.8)
    assert GOALS["encrypted_vs_plain"].holds(0.9)


def test_stored_sizes_are_medians_of_sizes_not_of_times() -> None:
    ours = [Sample(seconds=9, stored_bytes=110), Sample(seconds=1, stored_bytes=112)]
    theirs = [Sample(seconds=1, stored_bytes=100), Sample(seconds=9, stored_bytes=100)]
    assert middle(ours, stored_bytes) == 111
    assert figures({"full": ours, "zstd": theirs}, cores=2)["stored_vs_zstd"] == 1.11


def test_ratios_by_round_pair_neighbours() -> None:
    ratio = Ratio("rescan", "read")
    lanes = {"rescan": took(2.0, 8.0, 5.0), "read": took(1.0, 2.0)}
    assert ratio.by_round(lanes) == [2.0, 4.0]


def test_ceiling_is_all_cores_at_work_on_nothing_but_decompression_and_writing() -> None:
    lanes = {
        "zstd_decompress": [Sample(seconds=50, cpu_seconds=4)],
        "nbdcopy_write": [Sample(seconds=50, cpu_seconds=2)],
        "restore": took(6.0),
    }
    assert middle(lanes["zstd_decompress"], cpu_seconds) == 4
    # Six seconds of work on two cores cannot take less than three; ours took six.
    assert restore_vs_ceiling(lanes, 2) == pytest.approx(0.5)


def test_memory_is_the_highest_of_all_rounds_of_ours_alone() -> None:
    lanes = {
        "full": [Sample(seconds=1, peak_pss_bytes=each * 1024**2) for each in (90, 120, 100)],
        "restic": [Sample(seconds=1, peak_pss_bytes=900 * 1024**2)],
    }
    assert figures(lanes, cores=2)["peak_rss_mib"] == 120


def test_a_collection_has_its_time_and_its_own_memory() -> None:
    lanes = {"collect": [Sample(seconds=s, peak_pss_bytes=s * 1024**2) for s in (7, 9, 8)]}
    found = figures(lanes, cores=2)

    assert (found["collect_seconds"], found["collect_peak_mib"]) == (8, 9)
    assert GOALS["collect_seconds"].holds(8)
    assert "peak_rss_mib" not in found


def test_what_was_not_measured_has_no_figure() -> None:
    assert figures({}, cores=2) == {}
    found = figures({"full": took(1.0)}, cores=2)
    assert found == {"peak_rss_mib": 0, "spread": 0}


def test_lanes_of_sizes_alone_have_no_time_and_no_spread() -> None:
    lanes = {"increment_zstd": [Sample(stored_bytes=5)], "nochange": took(1.0)}
    assert list(timed(lanes)) == ["nochange"]
    assert "spread" not in figures(lanes, cores=2)


def test_the_spread_of_a_run_is_that_of_its_worst_lane() -> None:
    lanes = {"zstd": took(1.0, 1.0, 1.1), "full": took(2.0, 4.0, 4.0)}
    assert figures(lanes, cores=2)["spread"] == 0.5


@pytest.mark.parametrize(("at_least", "met"), [(True, [False, True, True]), (False, [1, 1, 0])])
def test_goals_hold_at_their_limit(*, at_least: bool, met: list[bool]) -> None:
    goal = Goal(2, at_least=at_least)
    assert [goal.holds(number) for number in (1.9, 2.0, 2.1)] == met


def test_each_ratio_has_lanes_of_two_names() -> None:
    assert all(ratio.upper != ratio.lower for ratio in RATIOS.values())
    assert GOALS["stored_vs_restic"].text == "at most 1.25"


#: Each lane of a whole run: (seconds, processor seconds, stored bytes).
WHOLE: dict[str, tuple[float, float, int]] = {
    "zstd": (10, 1, 100),
    "full": (8, 1, 106),
    "encrypted_full": (10, 1, 107),
    "full_live": (9, 1, 106),
    "read": (2, 1, 0),
    "rescan": (3, 1, 0),
    "restore": (5, 1, 0),
    "full_s3": (16, 1, 0),
    "rescan_s3": (4, 1, 0),
    "restore_s3": (4, 1, 0),
    "zstd_decompress": (9, 3, 0),
    "nbdcopy_write": (9, 5, 0),
    "stage_qemu_nbd_read": (9, 8, 0),
    "stage_compress": (12, 12, 0),
    "diff_restore": (1, 1, 0),
    "restic": (40, 1, 100),
    "restic_restore": (20, 1, 0),
    "borg": (12, 1, 0),
    "qemu_img": (80, 1, 0),
    "virtnbdbackup": (18, 1, 0),
    "virtnbdrestore": (15, 1, 0),
    "increment": (1.5, 1, 52),
    "increment_zstd": (0, 0, 50),
    "increment_4k": (20, 1, 300),
    "increment_4k_written": (0, 0, 60),
    "nochange": (0.25, 1, 532),
    "nochange_live": (2.5, 1, 0),
    "audit": (0.125, 1, 0),
}
FIGURES = {
    "spread": 0,
    "collect_seconds": 7,
    "collect_peak_mib": 32,
    "schedule_seconds": 20,
    "schedule_begun_seconds": 50,
    "schedule_idle_share": 0.03,
    "expiry_seconds": 0.08,
    "full_vs_zstd": 1.25,
    "stored_vs_zstd": 1.06,
    "full_vs_restic": 5,
    "full_vs_borg": 1.5,
    "full_vs_virtnbdbackup": 2,
    "full_vs_qemu_img": 10,
    "encrypted_vs_plain": 0.8,
    "rescan_vs_read": 1.5,
    "rescan_vs_full": 0.375,
    "restore_vs_ceiling": 0.8,  # (3 + 5) / 2 cores / 5
    "restore_vs_restic": 4,
    "restore_vs_virtnbdrestore": 3,
    "full_s3_vs_folder": 0.5,
    "rescan_s3_vs_folder": 0.75,
    "restore_s3_vs_folder": 1.25,
    "diff_restore_vs_full": 0.2,
    "stored_vs_restic": 1.06,
    "increment_seconds": 1.5,
    "increment_stored_ratio": 1.04,
    "increment_4k_seconds": 20,
    "increment_4k_stored_ratio": 5,
    "nochange_seconds": 0.25,
    "nochange_bytes": 532,
    "nochange_live_seconds": 2.5,
    "audit_seconds": 0.125,
    "peak_rss_mib": 64,
    "guest_p99_ratio": 1.5,
    "guest_p99_ratio_unlimited": 4,
    "guest_p99_ratio_filesystem": 2,
    "ceiling_vs_restic": 4,
    "ceiling_vs_borg": 1.2,
    "ceiling_vs_virtnbdbackup": 1.8,
    "ceiling_restore_vs_restic": 5,  # 20 / ((3 + 5) / 2 cores)
    "ceiling_restore_vs_virtnbdrestore": 3.75,
}


def a_whole_run() -> dict[str, list[Sample]]:
    lanes = {
        name: [Sample(seconds=took, cpu_seconds=cpu, stored_bytes=stored)] * 3
        for name, (took, cpu, stored) in WHOLE.items()
    }
    for phase, slow_ms in (("quiet", 2), ("limited", 3), ("unlimited", 8), ("filesystem", 4)):
        waits_ms = (*[1.0] * 98, slow_ms, 900.0)
        lanes[f"guest_{phase}"] = [Sample(seconds=9, waits_ms=waits_ms)] * 3
    lanes["huge_disk_full"] = [Sample(seconds=9, peak_pss_bytes=64 * 1024**2)]
    lanes["collect"] = [Sample(seconds=7, peak_pss_bytes=32 * 1024**2)]
    lanes["schedule"] = [Sample(seconds=20)] * 3
    lanes["schedule_begun"] = [Sample(seconds=50)] * 3
    lanes["expiry"] = [Sample(seconds=0.08)] * 3
    lanes["schedule_idle"] = [Sample(seconds=60, cpu_seconds=1.8)] * 3
    return lanes


def test_each_figure_of_a_whole_run() -> None:
    assert figures(a_whole_run(), cores=2) == FIGURES
    assert peak_lane(a_whole_run()) == "huge_disk_full"


def test_a_whole_run_has_all_that_is_owed() -> None:
    assert set(OWED) <= set(FIGURES) | {"machine", "date", "source_path"}
    assert set(GOALS) <= set(OWED)


def test_each_figure_is_of_medians_over_rounds() -> None:
    lanes = a_whole_run()
    outliers = {
        name: [*each[:2], Sample(seconds=999, stored_bytes=1)] for name, each in lanes.items()
    }
    for lane in ("huge_disk_full", "collect"):
        del outliers[lane], lanes[lane]
    expected = figures(lanes, cores=2)
    found = figures(outliers, cores=2)
    assert {**found, "spread": 0} == {**expected, "spread": 0}


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([float(each) for each in range(1000, 0, -1)], 99) == 990
    assert percentile([5.0, 7.0], 99) == 7
    assert percentile([5.0], 50) == 5
    assert percentile([], 99) == 0


def test_how_long_a_guest_wrote_is_no_time_of_a_lane() -> None:
    assert "guest_quiet" not in timed(a_whole_run())
