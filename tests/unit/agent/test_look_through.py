"""The sample of what a restore leaves as it is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from csbs.agent.look_through import SAMPLE_BLOCKS_MAX, Sample


@given(
    runs=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 3000)), max_size=20),
    turn=st.integers(0, 1000),
)
def test_a_sample_is_bounded_and_spread_evenly(runs: list[tuple[int, int]], turn: int) -> None:
    sample, first = Sample(turn), 0
    offered: list[int] = []
    for gap, count in runs:
        first += gap
        sample.add(first, first + count)
        offered += range(first, first + count)
        first += count

    least = min(len(offered), SAMPLE_BLOCKS_MAX // 2)
    assert least <= len(sample.blocks) <= SAMPLE_BLOCKS_MAX
    numbers = {block: number for number, block in enumerate(offered)}
    places = [numbers[block] for block in sample.blocks]
    steps = {b - a for a, b in pairwise(places)}
    assert len(steps) <= 1


def test_other_turns_take_other_blocks() -> None:
    samples = [Sample(0), Sample(1)]
    for sample in samples:
        sample.add(0, 10_000)

    assert not set(samples[0].blocks) & set(samples[1].blocks)
