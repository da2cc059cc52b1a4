"""The contract of object stores, run on every adapter."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from csbs.repository.objectstore import (
    FolderStore,
    MemoryStore,
    MeteredStore,
    RetryingStore,
    RetryPolicy,
    ThrottledStore,
    TimeLimit,
    TimeLimitedStore,
)
from csbs.repository.objectstore.s3 import S3Store
from csbs.testing.faults import Faults, FaultyStore
from csbs.testing.objectstore_contract import ObjectStoreContract
from csbs.testing.seaweedfs import SeaweedFS


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


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, seaweedfs: SeaweedFS) -> S3Store:
        return seaweedfs.store(f"contract/{uuid4()}")


class TestRetryingStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> RetryingStore:
        return RetryingStore(MemoryStore(), RetryPolicy(timeout_s=60, cancelled=lambda: False))


class TestThrottledStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> ThrottledStore:
        return ThrottledStore(MemoryStore(), lambda _: None)


class TestMeteredStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> MeteredStore:
        return MeteredStore(MemoryStore())
