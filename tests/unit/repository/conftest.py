"""A lab in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import Lab


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def lab(store: MemoryStore, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(store, tmp_path)
    yield lab
    lab.close()
