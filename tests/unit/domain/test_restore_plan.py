"""Which disks a restore writes, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csbs.domain.backup import Backup, Mode
from csbs.domain.backup_plan import DiskPlan
from csbs.domain.errors import CsbsError, DiskNotWritable, DiskTooSmall, NothingToRestore
from csbs.domain.identity import FoundBy, KnownDisk, Match
from csbs.domain.ids import BackupId, DiskId, TrackingName
from csbs.domain.restore_plan import Action, RestorePlan, Way, choose_ways, plan_restore
from csbs.domain.server import DiskDescription
from csbs.testing.values import make_backup

SIZE = 1024**2
DISK = DiskDescription(target="vda", source="/a", format="qcow2", size_bytes=SIZE, trackable=True)


def saved(*disk_ids: str) -> Backup:
    made = make_backup(1, dict.fromkeys(disk_ids, 0))
    return replace(made, disks=tuple(replace(disk, size_bytes=SIZE) for disk in made.disks))


def plan(disks: dict[str, DiskDescription], of: Backup) -> RestorePlan:
    matches = [
        Match(disk, KnownDisk(id=DiskId(i), target="", source=None, size_bytes=0), FoundBy.TRACKING)
        for i, disk in disks.items()
    ]
    return plan_restore(of, matches, [DiskId(i) for i in disks])


def actions(made: RestorePlan) -> dict[str | None, Action]:
    return {disk.disk_id: disk.action for disk in made.disks}


def test_added_disks_are_kept_and_removed_ones_left_out() -> None:
    made = plan({"d1": DISK, "new": replace(DISK, target="vdc")}, saved("d1", "gone"))

    assert actions(made) == {"d1": Action.WRITE, "new": Action.KEEP, "gone": Action.LEAVE_OUT}
    assert [disk.disk_id for disk in made.written] == ["d1"]


def note_of(made: RestorePlan, target: str) -> str:
    [found] = [disk.note for disk in made.disks if disk.target == target]
    return found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("/new", "added since the backup: it keeps its data", id="added"),
        pytest.param(None, "not a local file or device, so csbs cannot write it", id="network"),
    ],
)
def test_a_disk_that_is_kept_says_why(source: str | None, words: str) -> None:
    new = replace(DISK, target="vdc", source=source)

    assert words in note_of(plan({"d1": DISK, "new": new}, saved("d1")), "vdc")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("/was/here", "attach a disk at /was/here again", id="removed"),
        pytest.param(None, "not a local file or device, so csbs cannot bring it", id="network"),
    ],
)
def test_a_disk_that_is_left_out_says_where_its_data_is(source: str | None, words: str) -> None:
    of = saved("d1", "gone")
    of = replace(of, disks=(of.disks[0], replace(of.disks[1], source=source)))
    made = plan({"d1": DISK}, of)

    assert words in note_of(made, "gone")
    assert "its data stays in the backup" in note_of(made, "gone")


def test_disks_that_changed_places_are_each_written_with_what_was_theirs() -> None:
    of = saved("d1", "d2", "d3")
    named = zip(of.disks, ("vda", "vdb", "vdc"), strict=True)
    of = replace(of, disks=tuple(replace(disk, target=target) for disk, target in named))
    at = {"d1": "vda", "d2": "vdc", "d3": "vdb"}
    made = plan({i: replace(DISK, target=target, source=f"/{i}") for i, target in at.items()}, of)

    assert {disk.target: disk.disk_id for disk in made.written} == {
        target: i for i, target in at.items()
    }
    assert note_of(made, "vda") == "overwritten"
    assert note_of(made, "vdc") == "it was vdb in the backup"


def test_a_missing_file_is_made_anew() -> None:
    made = plan({"d1": replace(DISK, missing=True, size_bytes=0)}, saved("d1"))

    assert actions(made) == {"d1": Action.CREATE}
    assert "made anew" in made.disks[0].note


def test_a_larger_disk_says_what_becomes_of_its_end() -> None:
    made = plan({"d1": replace(DISK, size_bytes=2 * SIZE)}, saved("d1"))

    assert f"it keeps its size, from byte {SIZE} on it becomes zero" in made.disks[0].note


def test_a_disk_known_by_path_only_is_marked() -> None:
    match = Match(DISK, None, FoundBy.PATH)

    made = plan_restore(saved("d1"), [match], [DiskId("d1")])

    assert made.disks[0].by_path_only


@pytest.mark.parametrize(
    ("disk", "error"),
    [
        pytest.param(replace(DISK, size_bytes=SIZE - 512), DiskTooSmall, id="too small"),
        pytest.param(replace(DISK, size_bytes=0), DiskNotWritable, id="unreadable image"),
        pytest.param(replace(DISK, source=None), DiskNotWritable, id="network disk"),
        pytest.param(replace(DISK, shared=True), DiskNotWritable, id="shared"),
    ],
)
def test_what_speaks_against_it_names_the_disk(
    disk: DiskDescription, error: type[CsbsError]
) -> None:
    with pytest.raises(error) as caught:
        plan({"d1": disk}, saved("d1"))

    assert caught.value.object_name == "vda"
    assert "Nothing was changed" in str(caught.value)


def test_a_restore_without_any_disk_is_refused() -> None:
    with pytest.raises(NothingToRestore):
        plan({"new": DISK}, saved("gone"))


@pytest.mark.parametrize("change_bytes", [512, -512], ids=["larger", "smaller"])
def test_an_unknown_disk_at_the_path_of_a_missed_one_is_that_one(change_bytes: int) -> None:
    of = replace(saved("d1"), disks=(replace(saved("d1").disks[0], source="/a"),))
    match = Match(
        replace(DISK, size_bytes=of.disks[0].size_bytes + change_bytes), None, FoundBy.NEW
    )
    if change_bytes < 0:
        with pytest.raises(DiskTooSmall):
            plan_restore(of, [match], [DiskId("new")])
        return
    [disk] = plan_restore(of, [match], [DiskId("new")]).disks

    assert (disk.action, disk.disk_id, disk.by_path_only) == (Action.WRITE, "d1", True)


@pytest.mark.parametrize("found_by", FoundBy)
def test_so_is_one_that_later_backups_took_for_a_new_disk(found_by: FoundBy) -> None:
    """Unless something stronger than its path says that it is another one."""
    of = saved("d1", "d2")
    of = replace(of, disks=(of.disks[0], replace(of.disks[1], source="/b")))
    larger = replace(DISK, target="vdb", source="/b", size_bytes=2 * SIZE)
    known = KnownDisk(id=DiskId("new"), target="vdb", source="/b", size_bytes=2 * SIZE)
    matches = [Match(DISK, None, FoundBy.SERIAL), Match(larger, known, found_by)]
    made = plan_restore(of, matches, [DiskId("d1"), DiskId("new")])

    if found_by in {FoundBy.SERIAL, FoundBy.MOVED}:
        assert actions(made) == {"d1": "write", "new": "keep", "d2": "leave_out"}
    else:
        assert actions(made) == {"d1": "write", "d2": "write"}
        assert made.disks[1].by_path_only


def test_a_disk_that_the_server_may_only_read_keeps_its_data() -> None:
    disks = {"d1": DISK, "d2": replace(DISK, target="vdb", read_only=True)}

    assert actions(plan(disks, saved("d1", "d2"))) == {"d1": Action.WRITE, "d2": Action.KEEP}


TRACKED = DiskPlan(
    disk_id=DiskId("d1"),
    target="vda",
    mode=Mode.INCREMENTAL,
    reason="changes are tracked",
    parent_id=BackupId("b1"),
    since=TrackingName("csbs-b1"),
)


@pytest.mark.parametrize("resumed", [False, True], ids=["", "resumed"])
@pytest.mark.parametrize("missing", [False, True], ids=["", "missing"])
@pytest.mark.parametrize("mode", Mode)
def test_only_what_a_backup_would_trust_is_not_compared(
    mode: Mode, *, missing: bool, resumed: bool
) -> None:
    made = plan({"d1": replace(DISK, missing=missing)}, saved("d1"))
    how = replace(TRACKED, mode=mode, reason=f"why {mode}")
    [disk] = choose_ways(made, {DiskId("d1"): how}, resumed=resumed).disks

    trusted = mode is Mode.INCREMENTAL and not resumed
    if missing:
        assert disk.way is Way.ANEW
    elif trusted:
        assert (disk.way, disk.way_reason) == (Way.DIFFERENCE, "why incremental")
    else:
        why = "an interrupted restore came before" if resumed else f"why {mode}"
        assert (disk.way, disk.way_reason) == (Way.COMPARE, why)
    assert (disk.tracked is not None) == (disk.way is Way.DIFFERENCE)


def test_a_disk_that_is_kept_has_no_way() -> None:
    made = plan({"d1": DISK, "new": replace(DISK, target="vdc")}, saved("d1"))
    disks = choose_ways(made, {DiskId("d1"): TRACKED}, resumed=False).disks

    assert [disk.way for disk in disks] == [Way.DIFFERENCE, None]
