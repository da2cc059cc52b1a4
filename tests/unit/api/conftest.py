"""Clients of the module's `api`; who they are is made by `people.add_people`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from csbs.testing.live_api import LiveApi
from tests.unit.api.people import MEMBER, PASSWORD, READER


@pytest.fixture(scope="module")
def admin(api: LiveApi) -> Iterator[httpx.Client]:
    with api.as_user() as client:
        yield client


@pytest.fixture(scope="module")
def member(api: LiveApi) -> Iterator[httpx.Client]:
    with api.as_user(MEMBER, PASSWORD) as client:
        yield client


@pytest.fixture(scope="module")
def reader(api: LiveApi) -> Iterator[httpx.Client]:
    with api.as_user(READER, PASSWORD) as client:
        yield client
