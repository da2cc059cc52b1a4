"""What a freeze is worth."""

from __future__ import annotations

import pytest

from csbs.domain.consistency import Consistency, FreezeEvidence, judge_freeze

EVIDENCE = FreezeEvidence(file_systems=2, frozen_ms=900)


def test_a_freeze_that_held_until_the_thaw_counts() -> None:
    reached = judge_freeze(EVIDENCE, thawed=2, thaw_began_early=False, budget_s=3)

    assert (reached.level, reached.reason) == (Consistency.FILESYSTEM, "")
    assert reached.freeze == EVIDENCE


@pytest.mark.parametrize(
    ("thawed", "thaw_began_early", "reason"),
    [
        (2, True, "opening the disks took longer than the file systems may be frozen (3 s)"),
        (1, False, "2 file systems were frozen, and 1 still were at the end"),
        (0, False, "2 file systems were frozen, and 0 still were at the end"),
        (3, False, "2 file systems were frozen, and 3 still were at the end"),
    ],
)
def test_one_that_may_have_ended_before_does_not(
    thawed: int, reason: str, *, thaw_began_early: bool
) -> None:
    reached = judge_freeze(EVIDENCE, thawed=thawed, thaw_began_early=thaw_began_early, budget_s=3)

    assert (reached.level, reached.reason) == (Consistency.CRASH, reason)
    assert reached.freeze is None
