"""Lists of a catalog on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from csbs.catalog import Catalog
from csbs.domain.ids import ProjectId
from csbs.testing.postgres import Postgres
from csbs.testing.values import START
from tests.property.list_properties import ListProperties


@pytest.fixture(scope="module")
def catalog(postgres: Postgres) -> Iterator[Catalog]:
    catalog = Catalog.open(postgres.new_database())
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def project(catalog: Catalog) -> ProjectId:
    return catalog.home(clock=lambda: START, new_id=lambda: str(uuid4())).project_id


class TestListsOnPostgres(ListProperties):
    """See `ListProperties`."""
