"""The contract of object stores, run on every adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.repository.objectstore import FolderStore, MemoryStore, TimeLimit, TimeLimitedStore
from csbs.testing.faults import Faults, FaultyStore
from csbs.testing.objectstore_contract import ObjectStoreContract


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        store = FolderStore(tmp_path / "store", min_free=lambda _: 0)
        store.make()
        return store


class TestFaultyStoreWithoutFaults(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> FaultyStore:
        return FaultyStore(MemoryStore(), Faults())


class TestTimeLimitedStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> TimeLimitedStore:
        limit = TimeLimit(timeout_s=60, cancelled=lambda: False)
        return TimeLimitedStore(MemoryStore(), limit, name="memory")
