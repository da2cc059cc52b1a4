"""Sets of blocks: bounded, compact, and never believed when damaged."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.domain.block_set import NO_BLOCKS, RUNS_MAX, BlockSet, marked
from csbs.domain.extents import Allocation, BlockExtent

BLOCKS = st.frozensets(st.integers(0, 60) | st.integers(2**40, 2**40 + 60))


def set_of(blocks: frozenset[int]) -> BlockSet:
    made = BlockSet.of((block, block + 1) for block in sorted(blocks))
    assert made is not None
    return made


def blocks_of(made: BlockSet) -> frozenset[int]:
    return frozenset(block for first, end in made.runs for block in range(first, end))


@given(BLOCKS)
def test_a_set_comes_back_from_its_bytes(blocks: frozenset[int]) -> None:
    assert blocks_of(BlockSet.decode(set_of(blocks).encode())) == blocks


@given(BLOCKS, BLOCKS)
def test_a_union_has_the_blocks_of_both(one: frozenset[int], other: frozenset[int]) -> None:
    union = set_of(one).union(set_of(other))

    assert union == set_of(one | other)


def test_runs_that_touch_are_one() -> None:
    made = BlockSet.of([(1, 3), (3, 5), (4, 9), (10, 11)], runs_max=2)

    assert made == BlockSet(((1, 9), (10, 11)))


def test_a_set_with_too_many_runs_is_none() -> None:
    assert BlockSet.of([(0, 1), (2, 3), (4, 5)], runs_max=2) is None
    assert BlockSet(((0, 1),)).union(BlockSet(((2, 3),)), runs_max=1) is None


def test_the_largest_set_stays_small() -> None:
    made = BlockSet.of((3 * i, 3 * i + 1) for i in range(RUNS_MAX))
    assert made is not None

    assert len(made.encode()) < 512 * 1024
    assert BlockSet.decode(made.encode()) == made


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(BlockSet(((3, 9),)).encode()[:-1], id="cut"),
        pytest.param(BlockSet(((3, 9),)).encode() + b"x", id="longer"),
        pytest.param(b"\x00" + BlockSet(((3, 9),)).encode()[1:], id="no zlib"),
        pytest.param(zlib.compress(b"\x03\x01\x02"), id="half a run"),
        pytest.param(zlib.compress(b"\x03\x81"), id="half a number"),
        pytest.param(zlib.compress(b"\x03\x00"), id="an empty run"),
        pytest.param(zlib.compress(b"\x03\x01\x00\x01"), id="runs that touch"),
        pytest.param(zlib.compress(bytes(64 * 1024**2)), id="a bomb"),
    ],
)
def test_what_is_no_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no set of blocks"):
        BlockSet.decode(data)


def each_block(extents: list[BlockExtent]) -> list[tuple[int, Allocation, bool]]:
    return [
        (block, each.allocation, each.dirty)
        for each in extents
        for block in range(each.first, each.end)
    ]


@given(BLOCKS, BLOCKS, st.integers(0, 30))
def test_marked_blocks_are_dirty_and_nothing_else_changes(
    dirty: frozenset[int], also: frozenset[int], start: int
) -> None:
    kinds = (Allocation.HOLE, Allocation.DATA)
    extents = [
        BlockExtent(first, first + 7, kinds[first % 2], first in dirty)
        for first in range(start, 80, 7)
    ]
    made = list(marked(extents, set_of(also).runs))

    assert each_block(made) == [
        (block, allocation, is_dirty or block in also)
        for block, allocation, is_dirty in each_block(extents)
    ]
    assert list(marked(extents, NO_BLOCKS.runs)) == extents
