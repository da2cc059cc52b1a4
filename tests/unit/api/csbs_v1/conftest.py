from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.csbs_v1.lab import CsbsLab, csbs_lab, folder_in_memory


@pytest.fixture(scope="session")
def fresh_data() -> Iterator[Path]:
    """A data folder as a first start leaves it; made once, since migrations take long."""
    with folder_in_memory() as folder:
        with csbs_lab(folder):
            pass
        yield folder / "data"


@pytest.fixture
def lab(fresh_data: Path) -> Iterator[CsbsLab]:
    """One for each test; modules whose tests leave nothing behind have one for all of them."""
    with folder_in_memory() as folder:
        shutil.copytree(fresh_data, folder / "data")
        with csbs_lab(folder) as made:
            yield made
