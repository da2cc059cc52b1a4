from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.agent.read_plan import (
    PACKED_RUNS,
    RUNS_MAX,
    bytes_to_read,
    packed,
    pieces,
    unpacked,
)
from csbs.domain.extents import BLOCK_SIZE, Allocation, BlockRun, block_count

DATA, ZERO, HOLE = Allocation.DATA, Allocation.ZERO, Allocation.HOLE


def blocks_of(runs: list[BlockRun]) -> list[tuple[int, Allocation]]:
    return [(block, run.allocation) for run in runs for block in range(run.first, run.end)]


RUNS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 200), st.sampled_from(Allocation)), max_size=150
)


@given(parts=RUNS, piece_blocks=st.integers(1, 64), cut_bytes=st.integers(0, BLOCK_SIZE - 1))
def test_pieces_are_bounded_and_hold_every_block_once(
    parts: list[tuple[int, int, Allocation]], piece_blocks: int, cut_bytes: int
) -> None:
    runs, block = [], 0
    for gap, length, allocation in parts:
        block += gap
        runs.append(BlockRun(block, block + length, allocation))
        block += length
    disk_size = max(block * BLOCK_SIZE - cut_bytes, 0)

    found = list(pieces(runs, disk_size_bytes=disk_size, piece_size_max=piece_blocks * BLOCK_SIZE))

    assert blocks_of([run for piece in found for run in piece.runs]) == blocks_of(runs)
    for piece in found:
        assert 1 <= len(piece.runs) <= RUNS_MAX
        assert piece.size_bytes <= piece_blocks * BLOCK_SIZE
        assert piece.size_bytes == sum(bytes_to_read(run, disk_size) for run in piece.runs)


def test_neighbouring_small_runs_go_together() -> None:
    runs = [BlockRun(0, 1, DATA), BlockRun(1, 1000, HOLE), BlockRun(1000, 1001, DATA)]

    found = list(pieces(runs, disk_size_bytes=2000 * BLOCK_SIZE, piece_size_max=4 * BLOCK_SIZE))

    assert [piece.runs for piece in found] == [tuple(runs)]
    assert found[0].size_bytes == 2 * BLOCK_SIZE


@pytest.mark.parametrize("allocation", [HOLE, ZERO])
def test_what_reads_as_zero_is_not_cut(allocation: Allocation) -> None:
    run = BlockRun(0, 2**28, allocation)

    found = list(pieces([run], disk_size_bytes=2**44, piece_size_max=BLOCK_SIZE))

    assert [piece.runs for piece in found] == [(run,)]


@pytest.mark.parametrize(
    ("run", "disk_size", "expected"),
    [
        (BlockRun(0, 2, DATA), 2 * BLOCK_SIZE, 2 * BLOCK_SIZE),
        (BlockRun(1, 2, DATA), BLOCK_SIZE + 512, 512),
        (BlockRun(0, 2, HOLE), 2 * BLOCK_SIZE, 0),
    ],
)
def test_bytes_to_read(run: BlockRun, disk_size: int, expected: int) -> None:
    assert bytes_to_read(run, disk_size) == expected
    assert block_count(disk_size) == run.end


@given(
    st.lists(
        st.builds(
            BlockRun, st.integers(0, 2**40), st.integers(0, 2**40), st.sampled_from(Allocation)
        ),
        max_size=300,
    )
)
def test_what_is_packed_comes_out_the_same(runs: list[BlockRun]) -> None:
    packs = list(packed(runs))

    assert list(unpacked(packs)) == runs
    assert all(0 < len(pack) <= 3 * PACKED_RUNS for pack in packs)


def test_the_first_run_is_given_at_once_and_later_ones_take_little_memory() -> None:
    packs = [
        len(pack) // 3 for pack in packed(BlockRun(2 * i, 2 * i + 1, DATA) for i in range(300))
    ]

    assert packs == [1, 2, 4, 8, 16, 32, 64, 64, 64, 45]
    assert sum(sys.getsizeof(pack) for pack in packed([BlockRun(0, 1, DATA)] * 2000)) < 2000 * 32
