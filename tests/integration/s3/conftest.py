"""A repository in a real S3 server, and a proxy before it that fails by script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from csbs.domain.store_url import S3Place
from csbs.repository.objectstore.s3 import S3Store
from csbs.testing.repositories import Lab
from csbs.testing.s3_proxy import S3Proxy
from csbs.testing.seaweedfs import BUCKET, WRITER, Account, SeaweedFS


@pytest.fixture
def place(seaweedfs: SeaweedFS) -> S3Place:
    """A place that no other test uses."""
    return S3Place(bucket=BUCKET, prefix=f"test/{uuid4()}", endpoint=seaweedfs.endpoint)


@pytest.fixture
def store(place: S3Place) -> S3Store:
    return open_at(place)


@pytest.fixture
def lab(store: S3Store, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(store, tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with S3Proxy(seaweedfs.endpoint) as proxy:
        yield proxy


def open_at(
    place: S3Place, account: Account = WRITER, *, endpoint: str = "", timeout_s: float = 30.0
) -> S3Store:
    """The store at a place, perhaps by another way to it."""
    by = replace(place, endpoint=endpoint or place.endpoint)
    return S3Store(by, account.access(timeout_s=timeout_s))
