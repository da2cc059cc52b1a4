"""Lists of a catalog on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csbs.catalog import Catalog
from csbs.domain.ids import ProjectId
from csbs.testing.values import START
from tests.property.list_properties import ListProperties


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path_factory.mktemp("catalog") / "catalog.sqlite")
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def project(catalog: Catalog) -> ProjectId:
    return catalog.home(clock=lambda: START, new_id=lambda: "f" * 32).project_id


class TestListsOnSqlite(ListProperties):
    """See `ListProperties`."""
