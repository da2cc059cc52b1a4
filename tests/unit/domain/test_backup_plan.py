"""How each disk is read, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csbs.domain.backup import Mode
from csbs.domain.backup_plan import (
    DiskHistory,
    DiskPlan,
    Parent,
    Token,
    plan_disk,
    reading_again,
    retirable,
    untracked,
    without_parent,
)
from csbs.domain.block_set import NO_BLOCKS, BlockSet
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import BackupId, DiskId, TrackingName
from csbs.domain.server import DiskDescription, TrackingFault, TrackingReport

SIZE = 1024**3
DISK = DiskDescription(target="vda", source="/a", format="qcow2", size_bytes=SIZE, trackable=True)
MATCH = Match(DISK, None, FoundBy.TRACKING)
NAME = TrackingName("csbs-b1")
PARENT = Parent(backup_id=BackupId("b1"), size_bytes=SIZE)
TOKEN = Token(name=NAME, backup_id=BackupId("b1"), size_bytes=SIZE)
USABLE = TrackingReport(checkpoints=(NAME,), usable={"vda": frozenset({NAME})}, broken={})
NOTHING = TrackingReport(checkpoints=(), usable={}, broken={})


def plan(
    match: Match = MATCH,
    history: DiskHistory | None = None,
    report: TrackingReport = USABLE,
    *,
    full: bool = False,
) -> DiskPlan:
    history = history or DiskHistory(parent=PARENT, token=TOKEN)
    return plan_disk(DiskId("d1"), match, history, report, full=full)


def test_what_is_tracked_is_read_incrementally() -> None:
    made = plan()

    assert (made.mode, made.since, made.parent_id) == (Mode.INCREMENTAL, NAME, "b1")
    assert made.reason == "changes are tracked"


def test_the_first_backup_is_full() -> None:
    made = plan(history=DiskHistory())

    assert (made.mode, made.since, made.parent_id) == (Mode.FULL, None, None)
    assert made.reason == "first backup of this disk"


def test_a_first_backup_after_deletions_says_so() -> None:
    made = plan(history=DiskHistory(had_deletion=True))

    assert (made.mode, made.reason) == (Mode.FULL, "its last backup was deleted")


def test_a_moved_token_reads_what_changed_before_it_too() -> None:
    older = replace(PARENT, backup_id=BackupId("b0"))
    moved = BlockSet(((3, 9),))
    made = plan(history=DiskHistory(parent=older, token=TOKEN, moved=moved))

    assert (made.mode, made.since, made.parent_id) == (Mode.INCREMENTAL, NAME, "b0")
    assert made.also_dirty == moved
    assert untracked(made, "refused").also_dirty == without_parent(made).also_dirty == NO_BLOCKS


def test_a_move_counts_for_its_backup_only() -> None:
    made = plan(history=DiskHistory(parent=PARENT, token=TOKEN, moved=BlockSet(((3, 9),))))

    assert made.also_dirty == NO_BLOCKS


def test_a_forced_full_reads_all_and_keeps_the_history() -> None:
    made = plan(full=True)

    assert (made.mode, made.since, made.parent_id) == (Mode.FULL, None, "b1")
    assert made.reason == "asked for"


@pytest.mark.parametrize(
    ("match", "history", "report", "words"),
    [
        pytest.param(
            Match(replace(DISK, format="raw", trackable=False), None, FoundBy.PATH),
            DiskHistory(parent=PARENT, token=TOKEN),
            NOTHING,
            "raw images cannot be tracked",
            id="raw",
        ),
        pytest.param(
            Match(replace(DISK, source="/b"), None, FoundBy.MOVED),
            DiskHistory(parent=PARENT, token=TOKEN),
            USABLE,
            "moved to /b",
            id="moved",
        ),
        pytest.param(MATCH, DiskHistory(parent=PARENT), USABLE, "not tracked", id="no token"),
        pytest.param(
            MATCH,
            DiskHistory(parent=replace(PARENT, backup_id=BackupId("b0")), token=TOKEN),
            USABLE,
            "was deleted",
            id="token of a deleted backup",
        ),
        pytest.param(
            Match(replace(DISK, size_bytes=2 * SIZE), None, FoundBy.TRACKING),
            DiskHistory(parent=PARENT, token=TOKEN),
            USABLE,
            "its size changed",
            id="grown",
        ),
        pytest.param(
            MATCH,
            DiskHistory(parent=PARENT, token=TOKEN),
            TrackingReport(
                checkpoints=(NAME,),
                usable={},
                broken={"vda": {NAME: TrackingFault.SWITCHED_OFF}},
            ),
            "damaged: somebody switched its bitmap off",
            id="broken bitmap",
        ),
        pytest.param(
            MATCH,
            DiskHistory(parent=PARENT, token=TOKEN),
            TrackingReport(checkpoints=(NAME,), usable={}, broken={}),
            "its bitmap is gone",
            id="checkpoint without bitmap",
        ),
        pytest.param(
            Match(replace(DISK, source=None, trackable=False), None, FoundBy.SERIAL),
            DiskHistory(parent=PARENT, token=TOKEN),
            NOTHING,
            "no local file",
            id="image on the network",
        ),
        pytest.param(
            Match(replace(DISK, trackable=False), None, FoundBy.PATH),
            DiskHistory(parent=PARENT, token=TOKEN),
            NOTHING,
            "takes no bitmap",
            id="old or read-only qcow2",
        ),
        pytest.param(
            MATCH, DiskHistory(parent=PARENT, token=TOKEN), NOTHING, "is gone", id="no bitmap"
        ),
    ],
)
def test_what_is_not_known_is_rescanned_with_a_reason(
    match: Match, history: DiskHistory, report: TrackingReport, words: str
) -> None:
    made = plan(match, history, report)

    assert (made.mode, made.since) == (Mode.RESCAN, None)
    assert words in made.reason


def test_a_disk_of_another_size_at_a_known_path_is_read_as_a_new_one() -> None:
    made = plan(Match(DISK, None, FoundBy.NEW_SIZE), DiskHistory())

    assert made.mode is Mode.FULL
    assert made.reason == "taken for a new disk: the one at its path had another size"


def test_refused_tracking_becomes_a_rescan() -> None:
    made = untracked(plan(), "the bitmap is broken")

    assert (made.mode, made.since, made.reason) == (Mode.RESCAN, None, "the bitmap is broken")


def test_refused_tracking_leaves_a_full_read_as_it_is() -> None:
    full = plan(full=True)

    assert untracked(full, "whatever") == full


def test_only_tracking_that_no_disk_needs_is_retired() -> None:
    old, broken, kept = map(TrackingName, ("csbs-old", "csbs-broken", "csbs-kept"))
    report = TrackingReport(
        checkpoints=(old, kept),
        usable={"vda": frozenset({old, kept})},
        broken={"vdb": {broken: TrackingFault.NOT_CLOSED}},
    )

    assert retirable(report, {DiskId("d1"): kept}) == {old, broken}


def test_what_is_damaged_of_the_parent_is_read_again() -> None:
    older = replace(PARENT, backup_id=BackupId("b0"))
    moved = BlockSet(((3, 9),))
    made = plan(history=DiskHistory(parent=older, token=TOKEN, moved=moved))
    again = reading_again(made, BlockSet(((8, 11), (20, 21))))

    assert again.also_dirty == BlockSet(((3, 11), (20, 21)))
    assert (again.mode, again.since) == (Mode.INCREMENTAL, NAME)
    assert again.reason == (
        "changes are tracked; 4 blocks that are damaged in the store are read again"
    )


def test_a_disk_with_damage_in_too_many_places_is_read_whole() -> None:
    again = reading_again(plan(), None)

    assert (again.mode, again.since) == (Mode.RESCAN, None)
    assert again.reason == "much of its former backup is damaged in the store"


@pytest.mark.parametrize("made", [plan(full=True), plan(report=NOTHING)], ids=["full", "rescan"])
def test_a_disk_that_is_read_whole_reads_what_is_damaged_anyway(made: DiskPlan) -> None:
    assert reading_again(made, BlockSet(((8, 11),))) == made
    assert reading_again(made, None) == made


def test_without_damage_the_plan_stays() -> None:
    assert reading_again(plan(), NO_BLOCKS) == plan()
