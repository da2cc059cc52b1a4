"""A lab in memory: whatever it promises, a plain and an encrypted repository keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import Lab


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=["plain", "encrypted"])
def lab(store: MemoryStore, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(store, tmp_path, encrypted=request.param == "encrypted")
    yield lab
    lab.close()
