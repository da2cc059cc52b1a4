"""A few rounds of `tests.integration.kills.chaos`, with seeds that are always the same."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.kills.chaos import Chaos
from tests.integration.kills.hosts import fake_host

ROUNDS = 2


def test_whatever_a_kill_interrupts_ends_and_nothing_is_lost_or_left() -> None:
    with TemporaryDirectory(prefix="k-") as name:
        folder = Path(name)
        chaos = Chaos(fake_host(folder, rate_limit="1MiB/s"), folder, seed=7)
        try:
            chaos.begin()
            for _ in range(ROUNDS):
                chaos.play()
        finally:
            chaos.service.kill()
    assert chaos.seen["kill"] + chaos.seen["term"] + chaos.seen["stop"] == ROUNDS
