"""When a clock is trusted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from csbs.domain.steady_clock import JUMP_MAX, UNKNOWN_MAX, WAIT_S, first_look, next_look
from csbs.testing.values import START

SECOND = timedelta(seconds=1)
#: Between two looks.
STEP = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("known_at", "trusted"),
    [
        (None, True),
        (START, True),
        (START - UNKNOWN_MAX, True),
        (START - UNKNOWN_MAX - SECOND, False),
        (START + timedelta(days=400), True),
    ],
    ids=["nothing is known", "just now", "a day ago", "longer ago", "ahead"],
)
def test_a_start_is_trusted_that_is_not_far_from_what_is_known(
    known_at: object, *, trusted: bool
) -> None:
    watch = first_look(known_at, START, 100.0)  # type: ignore[arg-type]  # of the table

    assert watch.trusted is trusted
    assert next_look(watch, START + timedelta(seconds=WAIT_S - 1), 99 + WAIT_S).trusted is trusted
    assert next_look(watch, START + timedelta(seconds=WAIT_S), 100 + WAIT_S).trusted


@pytest.mark.parametrize(
    ("jump", "trusted"),
    [
        (timedelta(), True),
        (JUMP_MAX, True),
        (JUMP_MAX + SECOND, False),
        (timedelta(days=365), False),
        (-JUMP_MAX - SECOND, True),
        (timedelta(days=-365), True),
    ],
    ids=str,
)
def test_a_clock_that_is_set_forward_is_not_trusted_for_a_while(
    jump: timedelta, *, trusted: bool
) -> None:
    watch = next_look(first_look(None, START, 0.0), START + STEP + jump, 30.0)
    assert watch.trusted is trusted

    late = next_look(watch, watch.now + timedelta(seconds=WAIT_S - 1), 29.0 + WAIT_S)
    assert late.trusted is trusted
    assert next_look(late, late.now + SECOND, 30.0 + WAIT_S).trusted


def test_a_clock_that_is_set_right_again_is_trusted_at_once() -> None:
    watch = next_look(first_look(None, START, 0.0), START + timedelta(days=365), 30.0)
    watch = next_look(watch, START + 2 * STEP, 60.0)

    assert watch.trusted


def test_small_steps_that_go_on_are_no_jump() -> None:
    watch = first_look(None, START, 0.0)
    for number in range(1, 100):
        watch = next_look(watch, START + number * (STEP + 20 * SECOND), number * 30.0)
        assert watch.trusted
