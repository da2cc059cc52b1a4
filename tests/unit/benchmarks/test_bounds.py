"""What bounds a figure, from hand-made samples."""

from __future__ import annotations

import pytest

from benchmarks.arithmetic import Sample, figures
from benchmarks.bounds import STAGES, bounds, stage_table
from benchmarks.goals import GOALS

#: Every lane has one second of processor time in two, but for these.
PARTICULAR = {
    "full": Sample(seconds=5, cpu_seconds=10),
    "encrypted_full": Sample(seconds=6, cpu_seconds=11),
    "stage_compress": Sample(cpu_seconds=3),
    "restic": Sample(seconds=30, cpu_seconds=40),
}
USUAL = (
    *("zstd", "borg", "virtnbdbackup", "full_live", "read", "rescan", "restore", "diff_restore"),
    *("restic_restore", "virtnbdrestore", "zstd_decompress", "nbdcopy_write"),
    *("increment", "nochange", *(stage for stages in STAGES.values() for stage in stages)),
)
WAITS = Sample(seconds=10, cpu_seconds=3, waits_ms=(1.0, 2.0, 9.0))
LANES = {
    **{name: [Sample(seconds=2, cpu_seconds=1)] for name in USUAL},
    **{name: [sample] for name, sample in PARTICULAR.items()},
    **{name: [WAITS] for name in ("guest_quiet", "guest_limited")},
}


def test_stages_add_up_to_the_command() -> None:
    rows = dict(stage_table(LANES, "full"))
    *stages, other, whole = rows.values()
    assert rows["zstd -1 of each block"] == 3
    assert sum(stages) == 9
    assert (other, whole) == (1, 10)


def test_no_table_without_all_of_its_stages() -> None:
    assert stage_table({**LANES, "stage_digest": []}, "rescan") == []


def test_a_goal_that_is_missed_is_told_with_its_ceiling() -> None:
    assert figures(LANES, cores=2)["ceiling_vs_restic"] == 15
    ((key, words),) = bounds(LANES, ["full_vs_restic"], cores=2)
    assert key == "full_vs_restic"
    assert "15.0 times as fast as restic" in words
    assert "restic takes 40.0 s of processor time in 30.0 s" in words
    assert "by processor time alone 4.0 times" in words


def test_what_encryption_costs_is_told_in_processor_time() -> None:
    ((_, words),) = bounds(LANES, ["encrypted_vs_plain"], cores=2)
    assert "the encrypted backup takes 11.0 s of processor time in 6.0 s" in words
    assert words.endswith("1.0 s of it more")


def test_a_lane_that_is_missing_is_said() -> None:
    assert list(bounds({}, ["rescan_vs_read"], cores=2)) == [
        ("rescan_vs_read", "no lane of this run tells")
    ]


@pytest.mark.parametrize("key", sorted(set(GOALS) - {"stored_vs_zstd", "stored_vs_restic"}))
def test_each_goal_of_time_has_its_words(key: str) -> None:
    others = ("audit", "collect", "schedule", "schedule_begun", "schedule_idle", "expiry")
    told = dict(bounds({**LANES, **dict.fromkeys(others, LANES["read"])}, [key], cores=2))
    assert told[key] != "no lane of this run tells" or key in {
        "nochange_bytes",  # sizes speak for themselves
        "increment_stored_ratio",
    }
