"""Blocks whose allocation is not the parent's count as changed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from csbs.agent.allocation_check import checked
from csbs.domain.extents import Allocation, BlockExtent
from csbs.repository import FANOUT, Flags

HOLE, ZERO, DATA = Allocation.HOLE, Allocation.ZERO, Allocation.DATA


def against(parent: list[bool], blocks: list[BlockExtent]) -> list[BlockExtent]:
    """`blocks`, checked against a parent with these blocks allocated."""

    def differs(leaf: int, allocated: Flags) -> Flags | None:
        own = np.zeros(FANOUT, np.bool_)
        part = parent[leaf * FANOUT : (leaf + 1) * FANOUT]
        own[: len(part)] = part
        found = own != allocated
        return found if found.any() else None

    return list(checked("vda of server web", blocks, differs))


def test_what_is_as_in_the_parent_stays_as_it_is() -> None:
    blocks = [BlockExtent(0, 3, DATA, dirty=False), BlockExtent(3, 5, HOLE, dirty=True)]

    assert against([True] * 3 + [False] * 2, blocks) == blocks


def test_data_that_became_a_hole_is_a_change() -> None:
    found = against([True] * 4, [BlockExtent(0, 4, HOLE, dirty=False)])

    assert [(each.first, each.dirty) for each in found] == [(n, True) for n in range(4)]


def test_an_extent_over_many_leaves_is_cut_at_each() -> None:
    found = against([True] * (2 * FANOUT), [BlockExtent(0, 2 * FANOUT, ZERO, dirty=False)])

    assert [(each.first, each.end) for each in found] == [(0, FANOUT), (FANOUT, 2 * FANOUT)]


@given(
    now=st.lists(
        st.tuples(st.integers(1, 700), st.sampled_from(Allocation), st.booleans()), max_size=12
    ),
    data=st.data(),
)
def test_exactly_the_dirty_and_the_differing_blocks_are_dirty(
    now: list[tuple[int, Allocation, bool]], data: st.DataObject
) -> None:
    blocks, expected, end = [], [], 0
    for count, allocation, dirty in now:
        blocks.append(BlockExtent(end, end + count, allocation, dirty))
        end += count
    parent = [False] * end
    for block in data.draw(st.lists(st.integers(0, max(end - 1, 0)), max_size=20)):
        if end:
            parent[block] = True
    for each in blocks:
        for block in range(each.first, each.end):
            differs = parent[block] != (each.allocation is not HOLE)
            expected.append((block, each.allocation, each.dirty or differs))

    found = [
        (block, each.allocation, each.dirty)
        for each in against(parent, blocks)
        for block in range(each.first, each.end)
    ]

    assert found == expected
