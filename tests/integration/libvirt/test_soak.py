"""`make soak`, a little of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.config import Settings
from tests.integration.libvirt.soak import play_round

pytestmark = pytest.mark.host


def test_a_seed_plays_the_same_chain_again(settings: Settings, tmp_path: Path) -> None:
    rounds = []
    for folder in (tmp_path / "first", tmp_path / "again"):
        folder.mkdir()
        chosen = settings.model_copy(update={"data_dir": folder / "data"})
        rounds.append(play_round(chosen, 5, tmp=folder, events=3))

    assert len(rounds[0]) == 3
    assert rounds[0] == rounds[1]
