from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.agent.write_plan import Zeroes, in_parts, joined, zeroes
from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import HOLE, STORED, ZERO, Fetch, Run

MIB = 1024**2
STATES = st.lists(st.sampled_from([HOLE, ZERO, STORED]), max_size=30)


def runs_of(states: list[int]) -> list[Run]:
    return [Run(block, block + 1, state) for block, state in enumerate(states)]


@given(
    states=STATES,
    cut_bytes=st.integers(0, BLOCK_SIZE - 1),
    more_bytes=st.sampled_from([0, 1, 512, BLOCK_SIZE, 5 * BLOCK_SIZE + 3]),
    piece_blocks=st.integers(1, 4),
)
def test_data_and_zeroes_are_the_whole_disk_without_overlap(
    states: list[int], cut_bytes: int, more_bytes: int, piece_blocks: int
) -> None:
    image_size = max(len(states) * BLOCK_SIZE - cut_bytes, 0) if states else 0
    disk_size = image_size + more_bytes
    assert block_count(image_size) == len(states)

    zeroed = list(
        zeroes(
            runs_of(states),
            image_size_bytes=image_size,
            disk_size_bytes=disk_size,
            piece_size_max=piece_blocks * BLOCK_SIZE,
        )
    )
    data = joined(
        [(block, bytes(BLOCK_SIZE)) for block, state in enumerate(states) if state == STORED],
        disk_size_bytes=disk_size,
        request_size_max=piece_blocks * BLOCK_SIZE,
    )
    written = [Zeroes(offset, offset + len(each)) for offset, each in data]

    assert all(0 < each.end - each.start <= piece_blocks * BLOCK_SIZE for each in zeroed + written)
    end = 0
    for each in sorted(zeroed + written, key=lambda each: each.start):
        assert each.start == end
        end = each.end
    assert end == disk_size


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([3], [(3, 1)], id="one"),
        pytest.param([3, 4, 5], [(3, 3)], id="neighbours"),
        pytest.param([5, 3, 4], [(3, 3)], id="neighbours in any order"),
        pytest.param([1, 3], [(1, 1), (3, 1)], id="a gap"),
        pytest.param([0, 1, 2, 3, 4], [(0, 4), (4, 1)], id="a request is bounded"),
    ],
)
def test_neighbours_become_one_request(blocks: list[int], expected: list[tuple[int, int]]) -> None:
    data = [(block, bytes([block]) * BLOCK_SIZE) for block in blocks]

    found = list(joined(data, disk_size_bytes=100 * BLOCK_SIZE, request_size_max=4 * BLOCK_SIZE))

    assert [(offset // BLOCK_SIZE, len(each) // BLOCK_SIZE) for offset, each in found] == expected
    for offset, each in found:
        assert each[0] == offset // BLOCK_SIZE
        assert each[-1] == (offset + len(each) - 1) // BLOCK_SIZE


def test_a_request_ends_where_the_disk_ends() -> None:
    found = list(
        joined([(1, b"x" * BLOCK_SIZE)], disk_size_bytes=BLOCK_SIZE + 512, request_size_max=MIB)
    )

    assert found == [(BLOCK_SIZE, b"x" * 512)]


def test_a_fetch_of_highly_compressed_blocks_is_loaded_in_parts() -> None:
    fetch = Fetch(
        pack_id=b"p" * 16,
        offset_bytes=80,
        size_bytes=1000,
        blocks=tuple((block, block) for block in range(100)),
    )

    parts = list(in_parts(fetch, part_size_max=3 * MIB))

    assert [len(part.blocks) for part in parts] == [48, 48, 4]
    assert tuple(each for part in parts for each in part.blocks) == fetch.blocks
    assert {(part.pack_id, part.offset_bytes, part.size_bytes) for part in parts} == {
        (b"p" * 16, 80, 1000)
    }
