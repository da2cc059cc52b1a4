"""What a deletion changes in the billed storage."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from csbs.domain.backup import BackupState
from csbs.domain.deletion_plan import (
    most_added_bytes,
    neighbours,
    neighbours_left,
    plan_deletion,
    predecessor,
)
from csbs.domain.ids import DiskId
from csbs.testing.values import make_backup


def test_the_neighbours_of_a_disk_are_the_backups_that_have_it() -> None:
    first, middle, last = (
        make_backup(1, {"a": 1, "b": 1}),
        make_backup(2, {"a": 1}),
        make_backup(3, {"b": 1}),
    )

    [found] = neighbours(first, [first, middle, last])[1:]

    assert (found.disk_id, found.before, found.after.id) == ("b", None, "b3")


def test_of_several_that_go_in_a_row_only_the_one_behind_them_changes() -> None:
    made = [make_backup(number, {"a": number}) for number in range(1, 7)]
    gone = {made[0].id, made[1].id, made[3].id}

    left = neighbours_left(gone, made)

    assert [(each.before and each.before.id, each.after.id) for each in left] == [
        (None, "b3"),
        ("b3", "b5"),
    ]
    assert [most_added_bytes(each, made) for each in left] == [1 + 2 + 3, 4 + 5]


def test_disks_that_a_backup_lacks_are_looked_for_before_it() -> None:
    made = [
        make_backup(1, {"a": 1, "b": 1}),
        make_backup(2, {"a": 1}),
        make_backup(3, {"a": 1, "b": 1}),
        replace(make_backup(4, {"a": 1, "b": 1}), state=BackupState.ERROR),
    ]

    left = neighbours_left({made[1].id}, made)

    assert [(each.disk_id, each.before and each.before.id, each.after.id) for each in left] == [
        ("a", "b1", "b3")
    ]


def test_the_last_backup_has_no_neighbour_behind() -> None:
    first, last = make_backup(1, {"a": 1}), make_backup(2, {"a": 1})

    assert neighbours(last, [first, last]) == []


def test_failed_backups_are_no_neighbours() -> None:
    first, failed = (
        make_backup(1, {"a": 1}),
        replace(make_backup(2, {"a": 1}), state=BackupState.ERROR),
    )

    assert neighbours(first, [first, failed]) == []


def test_the_predecessor_is_the_newest_that_stays_and_has_the_disk() -> None:
    first, second, failed, last = (
        make_backup(1, {"a": 1, "b": 1}),
        make_backup(2, {"a": 1}),
        replace(make_backup(3, {"a": 1, "b": 1}), state=BackupState.ERROR),
        make_backup(4, {"a": 1, "b": 1, "c": 1}),
    )
    all_of_them = [first, second, failed, last]
    found = {each: predecessor(last, all_of_them, DiskId(each)) for each in "abc"}

    assert found == {"a": second, "b": first, "c": None}
    assert predecessor(second, all_of_them, DiskId("a")) is None  # a later one has the disk


def test_the_last_backup_takes_its_own_part_along() -> None:
    first, last = make_backup(1, {"a": 100}), make_backup(2, {"a": 7})

    plan = plan_deletion(last, [first, last], [])

    assert (plan.storage_before_bytes, plan.storage_after_bytes) == (107, 100)
    assert plan.change_bytes == -7


@given(
    contents=st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=2, max_size=6),
    data=st.data(),
)
def test_deletions_in_any_order_leave_what_the_definition_says(
    contents: list[list[int]], data: st.DataObject
) -> None:
    """Blocks are numbers here: 0 reads as zero, an equal number lies at an equal address."""

    def difference(before: list[int] | None, after: list[int]) -> int:
        pairs = zip(before or [0] * 6, after, strict=True)
        return sum(1 for old, new in pairs if new and new != old)

    def storage(numbers: list[int]) -> dict[int, int]:
        return {
            number: difference(contents[numbers[i - 1]] if i else None, contents[number])
            for i, number in enumerate(numbers)
        }

    left = list(range(len(contents)))
    backups = {n: make_backup(n, {"a": size}) for n, size in storage(left).items()}
    while len(left) > 1:
        doomed = data.draw(st.sampled_from(left))
        siblings = [backups[n] for n in left]
        moved = [
            (
                each.after.id,
                each.disk_id,
                difference(
                    contents[int(each.before.id[1:])] if each.before else None,
                    contents[int(each.after.id[1:])],
                ),
            )
            for each in neighbours(backups[doomed], siblings)
        ]
        plan = plan_deletion(backups[doomed], siblings, moved)
        left.remove(doomed)
        expected = storage(left)

        assert plan.storage_after_bytes == sum(expected.values())

        backups = {n: make_backup(n, {"a": size}) for n, size in expected.items()}
