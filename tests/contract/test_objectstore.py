"""The contract of object stores, run on every adapter."""

from __future__ import annotations

from pathlib import Path

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
from csbs.testing.any_s3 import S3Service
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


@pytest.mark.any_s3
class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, any_s3: S3Service) -> S3Store:
        return any_s3.store(any_s3.new_place())


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
