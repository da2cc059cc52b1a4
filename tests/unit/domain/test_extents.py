from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.domain.extents import (
    BLOCK_SIZE,
    Allocation,
    BlockRun,
    Extent,
    block_count,
    by_block,
    dirty_blocks,
    overlaid,
)

KIB = 1024
DATA, ZERO, HOLE = Allocation.DATA, Allocation.ZERO, Allocation.HOLE


def extents(*parts: tuple[int, Allocation, bool]) -> list[Extent]:
    """Extents in a row from (KiB, what, dirty)."""
    found, start = [], 0
    for size_kib, allocation, dirty in parts:
        found.append(Extent(start, start + size_kib * KIB, allocation, dirty))
        start += size_kib * KIB
    return found


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([], [], id="no disk"),
        pytest.param([(128, DATA, True)], [BlockRun(0, 2, DATA)], id="whole blocks"),
        pytest.param([(128, DATA, False)], [], id="clean"),
        pytest.param([(4, DATA, True)], [BlockRun(0, 1, DATA)], id="less than a block"),
        pytest.param(
            [(64, DATA, True), (64, DATA, True)], [BlockRun(0, 2, DATA)], id="neighbours are joined"
        ),
        pytest.param(
            [(60, DATA, False), (8, DATA, True), (60, DATA, False)],
            [BlockRun(0, 2, DATA)],
            id="dirty bytes over an edge make both blocks dirty",
        ),
        pytest.param(
            [(60, HOLE, True), (4, DATA, False)],
            [BlockRun(0, 1, DATA)],
            id="a dirty block with clean data is read",
        ),
        pytest.param(
            [(32, HOLE, True), (32, ZERO, True)],
            [BlockRun(0, 1, ZERO)],
            id="hole and zero together are zero",
        ),
        pytest.param(
            [(64, HOLE, True), (64, ZERO, True), (64, DATA, True)],
            [BlockRun(0, 1, HOLE), BlockRun(1, 2, ZERO), BlockRun(2, 3, DATA)],
            id="whole holes and zeroes are kept apart",
        ),
        pytest.param(
            [(100, HOLE, True)], [BlockRun(0, 2, HOLE)], id="a partial last block is a block"
        ),
        pytest.param(
            [(32, DATA, False), (32, HOLE, False), (64, DATA, False)],
            [BlockRun(0, 1, DATA)],
            id="a mixed block is dirty, whatever tracking says",
        ),
        pytest.param(
            [(64, DATA, True), (64, DATA, False), (64, DATA, True)],
            [BlockRun(0, 1, DATA), BlockRun(2, 3, DATA)],
            id="clean blocks between",
        ),
    ],
)
def test_dirty_blocks(
    parts: Sequence[tuple[int, Allocation, bool]], expected: list[BlockRun]
) -> None:
    assert list(dirty_blocks(by_block(extents(*parts)))) == expected


PARTS = st.lists(
    st.tuples(
        st.sampled_from([1, 4, 60, 64, 68, 128, 4096]), st.sampled_from(Allocation), st.booleans()
    ),
    max_size=40,
)


@given(PARTS)
def test_runs_are_exactly_the_dirty_and_the_mixed_blocks_each_once(
    parts: list[tuple[int, Allocation, bool]],
) -> None:
    source = extents(*parts)
    size = source[-1].end if source else 0
    by_kib = [
        (each.allocation, each.dirty)
        for each in source
        for _ in range((each.end - each.start) // KIB)
    ]
    expected: dict[int, Allocation] = {}
    for block in range(block_count(size)):
        inside = by_kib[block * 64 : (block + 1) * 64]
        kinds = {allocation for allocation, _ in inside}
        if len(kinds) > 1 or any(dirty for _, dirty in inside):
            expected[block] = kinds.pop() if len(kinds) == 1 else DATA if DATA in kinds else ZERO

    runs = list(dirty_blocks(by_block(source)))

    found = [(block, run.allocation) for run in runs for block in range(run.first, run.end)]
    assert found == sorted(expected.items())
    assert all(
        one.end < other.first or one.allocation is not other.allocation
        for one, other in pairwise(runs)
    )


STEPS = st.lists(st.integers(1, 200), max_size=20)


@given(
    STEPS.flatmap(
        lambda sizes: st.tuples(
            st.just(sizes),
            st.lists(st.sampled_from(Allocation), min_size=len(sizes), max_size=len(sizes)),
        )
    ),
    STEPS.flatmap(
        lambda sizes: st.tuples(
            st.just(sizes), st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))
        )
    ),
)
def test_overlaid_says_for_each_byte_what_both_reports_say(
    allocations: tuple[list[int], list[Allocation]], changes: tuple[list[int], list[bool]]
) -> None:
    start = 1000
    kinds = [kind for size, kind in zip(*allocations, strict=True) for _ in range(size)]
    dirty = [flag for size, flag in zip(*changes, strict=True) for _ in range(size)]

    found = list(
        overlaid(
            start,
            zip(ends_of(start, allocations[0]), allocations[1], strict=True),
            zip(ends_of(start, changes[0]), changes[1], strict=True),
        )
    )

    bytes_found = [
        (each.allocation, each.dirty) for each in found for _ in range(each.start, each.end)
    ]
    assert bytes_found == list(zip(kinds, dirty, strict=False))
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(each.start < each.end for each in found)


def ends_of(start: int, sizes: list[int]) -> list[int]:
    ends = []
    for size in sizes:
        start += size
        ends.append(start)
    return ends


def test_a_gap_between_extents_is_a_mistake_of_the_caller() -> None:
    gap = [
        Extent(0, BLOCK_SIZE, DATA, dirty=True),
        Extent(2 * BLOCK_SIZE, 3 * BLOCK_SIZE, DATA, dirty=True),
    ]

    with pytest.raises(AssertionError, match="gap"):
        list(dirty_blocks(by_block(gap)))


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2)])
def test_block_count(size: int, count: int) -> None:
    assert block_count(size) == count
