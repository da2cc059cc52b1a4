from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.csbs_v1.lab import CsbsLab, csbs_lab


@pytest.fixture(scope="session")
def fresh_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as a first start leaves it; made once, since migrations take long."""
    folder = tmp_path_factory.mktemp("fresh")
    with csbs_lab(folder):
        pass
    return folder / "data"


@pytest.fixture
def lab(tmp_path: Path, fresh_data: Path) -> Iterator[CsbsLab]:
    shutil.copytree(fresh_data, tmp_path / "data")
    with csbs_lab(tmp_path) as made:
        yield made
