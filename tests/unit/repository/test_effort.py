"""Compression takes the time that the store leaves: the rule, and that it reaches the blocks."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.domain.clock import Monotonic
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository.effort import LEVELS, Effort, after_pack
from csbs.repository.objectstore import Bytes, MemoryStore
from csbs.repository.pack_writer import IN_FLIGHT_MAX
from csbs.testing.repositories import START, Lab, restored

#: Seconds waited, of ten.
MUCH, SOME, NONE = 5.0, 1.0, 0.0


def levels(waits_s: Sequence[float]) -> list[int]:
    effort, found = Effort(), []
    for waited_s in waits_s:
        effort = after_pack(effort, waited_s=waited_s, took_s=10.0)
        found.append(effort.level)
    return found


@pytest.mark.parametrize(
    ("waits_s", "expected"),
    [
        pytest.param([NONE] * 3, [1, 1, 1], id="a fast store"),
        pytest.param([MUCH] * 8, [1, 3, 3, 5, 5, 9, 9, 9], id="a slow store"),
        pytest.param([MUCH, NONE, MUCH, NONE, MUCH], [1] * 5, id="one slow put now and then"),
        pytest.param([MUCH, SOME] * 3, [1] * 6, id="not in a row"),
        pytest.param([MUCH] * 4 + [SOME] * 3, [1, 3, 3, 5, 5, 5, 5], id="a level that fits stays"),
        pytest.param([MUCH] * 6 + [NONE] * 4, [1, 3, 3, 5, 5, 9, 5, 3, 1, 1], id="fast again"),
        pytest.param(
            [MUCH, MUCH, NONE, MUCH, MUCH, MUCH, MUCH],
            [1, 3, 1, 1, 1, 1, 3],
            id="a level that was too high is tried again later",
        ),
    ],
)
def test_the_level_follows_what_the_store_takes(waits_s: list[float], expected: list[int]) -> None:
    assert levels(waits_s) == expected


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=60))
def test_the_level_changes_by_one_step_and_never_up_without_a_wait(
    packs: list[tuple[float, float]],
) -> None:
    effort = Effort()
    for waited_s, rest_s in packs:
        before = effort
        effort = after_pack(before, waited_s=waited_s, took_s=waited_s + rest_s)

        assert 0 <= effort.step < len(LEVELS)
        assert abs(effort.step - before.step) <= 1
        if effort.step > before.step:
            assert waited_s >= rest_s / 3
            assert before.waited >= 1


@given(st.lists(st.floats(0, 100), max_size=60))
def test_a_store_that_no_longer_makes_anybody_wait_gets_level_1(waits_s: list[float]) -> None:
    assert levels([*waits_s, *[NONE] * (len(LEVELS) - 1)])[-1:] in ([1], [])


class SlowStore(MemoryStore):
    """A put takes ten seconds of its own clock, and ends when a writer has to wait for that."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._looks = 0
        self._released = 0
        self._may_end = threading.Semaphore(0)

    def monotonic(self) -> float:
        """Looked at once in the beginning, then before and after each pack is handed over."""
        now_s = self._now_s
        self._looks += 1
        sent, before = divmod(self._looks - 2, 2)
        if before == 0 and sent - self._released >= IN_FLIGHT_MAX:
            self.release(1)
        return now_s

    def release(self, count: int) -> None:
        self._released += count
        self._may_end.release(count)

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        if key.startswith("packs/"):
            assert self._may_end.acquire(timeout=20)
            self._now_s += 10
        super().put(key, parts, use_reserve=use_reserve)


def words(count: int) -> list[bytes]:
    """Blocks that a higher level makes smaller."""
    chance = random.Random(1)
    known = [chance.randbytes(chance.randrange(3, 9)).hex().encode() for _ in range(3000)]
    return [b" ".join(chance.choices(known, k=9000))[:BLOCK_SIZE] for _ in range(count)]


def frame_sizes(
    lab: Lab, blocks: list[bytes], monotonic: Monotonic, *, done: Callable[[], None]
) -> list[int]:
    """Sizes of these blocks in the store, each a pack of its own, after all were compared."""
    writer = lab.repository.begin(
        lab.new_id(), started_at=START, index=lab.index, pack_size=1, monotonic=monotonic
    )
    image = writer.image("disk", len(blocks) * BLOCK_SIZE, parent=None)
    for number, block in enumerate(blocks):
        image.write(number, image.encoder().encode(number, block))
    done()
    written = image.finish()
    writer.commit(created_at=START, facts={})
    assert restored(lab.repository, written) == b"".join(blocks)
    fetches = sorted(lab.repository.reader(written).fetches(), key=lambda each: each.blocks)
    return [fetch.size_bytes for fetch in fetches]


def test_blocks_become_smaller_while_packs_wait_for_a_slow_store(tmp_path: Path) -> None:
    store, blocks = SlowStore(), words(12)
    lab = Lab(store, tmp_path)
    slow = frame_sizes(lab, blocks, store.monotonic, done=lambda: store.release(len(blocks)))
    lab.close()
    fast_lab = Lab(MemoryStore(), tmp_path)
    fast = frame_sizes(fast_lab, blocks, lambda: 0.0, done=lambda: None)
    fast_lab.close()

    # Three are on their way; each step up needs two that waited.
    assert [(a < b) for a, b in zip(slow, fast, strict=True)] == [False] * 5 + [True] * 7
    assert slow[:5] == fast[:5]
