from __future__ import annotations

import pytest

from csbs.agent.write_plan import joined
from csbs.domain.extents import BLOCK_SIZE

MIB = 1024**2


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
