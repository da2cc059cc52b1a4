"""Which disk is which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csbs.domain.identity import FoundBy, KnownDisk, match_disks
from csbs.domain.ids import DiskId, TrackingName
from csbs.domain.server import DiskDescription

GIB = 1024**3
CP = TrackingName("csbs-1")


def known(disk_id: str, source: str, *, size_gib: int = 1, tracked: bool = True) -> KnownDisk:
    return KnownDisk(
        id=DiskId(disk_id),
        target="vda",
        source=source,
        size_bytes=size_gib * GIB,
        tracking=CP if tracked else None,
    )


def seen(target: str, source: str, *, size_gib: int = 1) -> DiskDescription:
    return DiskDescription(
        target=target, source=source, format="qcow2", size_bytes=size_gib * GIB, trackable=True
    )


def result(
    known_disks: list[KnownDisk], disks: list[DiskDescription], bitmaps: dict[str, set[str]]
) -> list[tuple[str | None, FoundBy]]:
    found = match_disks(
        known_disks,
        disks,
        {target: frozenset(map(TrackingName, names)) for target, names in bitmaps.items()},
    )
    return [(match.known.id if match.known else None, match.found_by) for match in found]


def test_a_disk_never_seen_is_new() -> None:
    assert result([], [seen("vda", "/a")], {}) == [(None, FoundBy.NEW)]


def test_path_and_bitmap_are_full_trust() -> None:
    found = result([known("d1", "/a")], [seen("vda", "/a")], {"vda": {CP}})

    assert found == [("d1", FoundBy.TRACKING)]


def test_path_and_bitmap_name_a_resized_disk_too() -> None:
    found = result([known("d1", "/a")], [seen("vda", "/a", size_gib=2)], {"vda": {CP}})

    assert found == [("d1", FoundBy.TRACKING)]


def test_path_and_size_without_the_bitmap_are_found_by_path() -> None:
    assert result([known("d1", "/a")], [seen("vda", "/a")], {}) == [("d1", FoundBy.PATH)]


def test_the_same_path_with_another_size_and_no_bitmap_is_another_disk() -> None:
    found = result([known("d1", "/a")], [seen("vda", "/a", size_gib=2)], {})

    assert found == [(None, FoundBy.NEW_SIZE)]


def test_the_target_name_alone_never_counts() -> None:
    assert result([known("d1", "/a")], [seen("vda", "/b")], {}) == [(None, FoundBy.NEW)]


def test_a_moved_image_is_found_by_its_bitmap_and_size() -> None:
    found = result([known("d1", "/a")], [seen("vda", "/b")], {"vda": {CP}})

    assert found == [("d1", FoundBy.MOVED)]


def test_a_copy_beside_the_original_is_not_the_disk() -> None:
    disks = [seen("vda", "/a"), seen("vdb", "/copy-of-a")]

    found = result([known("d1", "/a")], disks, {"vda": {CP}, "vdb": {CP}})

    assert found == [("d1", FoundBy.TRACKING), (None, FoundBy.NEW)]


def test_two_lost_disks_of_one_size_are_not_guessed() -> None:
    both = [known("d1", "/a"), known("d2", "/b")]
    disks = [seen("vda", "/x"), seen("vdb", "/y")]

    found = result(both, disks, {"vda": {CP}, "vdb": {CP}})

    assert found == [(None, FoundBy.NEW), (None, FoundBy.NEW)]


def test_swapped_targets_follow_the_paths() -> None:
    both = [known("d1", "/a"), known("d2", "/b")]
    disks = [seen("vda", "/b"), seen("vdb", "/a")]

    found = result(both, disks, {"vda": {CP}, "vdb": {CP}})

    assert found == [("d2", FoundBy.TRACKING), ("d1", FoundBy.TRACKING)]


@pytest.mark.parametrize("field", ["serial", "wwn"])
def test_a_serial_or_wwn_comes_before_the_path(field: str) -> None:
    changes: dict[str, Any] = {field: "S1"}
    first = replace(known("d1", "/a"), **changes)
    other = known("d2", "/b")
    moved = replace(seen("vda", "/b"), **changes)

    assert result([first, other], [moved], {}) == [("d1", FoundBy.SERIAL)]


def test_a_serial_that_two_disks_carry_names_none() -> None:
    first = replace(known("d1", "/a"), serial="S1")
    disks = [replace(seen("vda", "/x"), serial="S1"), replace(seen("vdb", "/y"), serial="S1")]

    assert result([first], disks, {}) == [(None, FoundBy.NEW), (None, FoundBy.NEW)]


def test_a_missing_file_is_known_by_its_path() -> None:
    gone = replace(seen("vda", "/a"), missing=True, size_bytes=0)

    assert result([known("d1", "/a")], [gone], {}) == [("d1", FoundBy.PATH)]


def test_a_snapshot_of_all_disks_and_its_commit_keep_them_apart() -> None:
    before = [known("d1", "/a"), known("d2", "/b")]
    overlays = [
        replace(seen("vda", "/a.snap"), backing="/a"),
        replace(seen("vdb", "/b.snap"), backing="/b"),
    ]
    taken = match_disks(before, overlays, {})

    after = [
        replace(known("d1", "/a.snap"), backing="/a"),
        replace(known("d2", "/b.snap"), backing="/b"),
    ]
    committed = match_disks(after, [seen("vda", "/a"), seen("vdb", "/b")], {})

    for matches in (taken, committed):
        assert [match.known.id for match in matches if match.known] == ["d1", "d2"]
        assert {match.found_by for match in matches} == {FoundBy.MOVED}


def test_clones_of_one_image_are_not_taken_for_it() -> None:
    base = known("d1", "/base")
    clones = [
        replace(seen("vda", "/x"), backing="/base"),
        replace(seen("vdb", "/y"), backing="/base"),
    ]

    assert {match.found_by for match in match_disks([base], clones, {})} == {FoundBy.NEW}
