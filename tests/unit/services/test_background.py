"""What is done in each project, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from sqlalchemy import insert

from csbs.background import in_each_project
from csbs.catalog import Catalog
from csbs.catalog.tables import projects
from csbs.domain.clock import utc_now
from csbs.domain.errors import CatalogFailed
from csbs.domain.ids import ProjectId
from csbs.services.project_app import App
from csbs.services.region import Region

NAMES = ["a", "b", "c"]


class Projects:
    """A region in which the app of a project is its id."""

    def project_app(self, project_id: ProjectId) -> ProjectId:
        return project_id


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Has projects `a` to `c`, beside its own."""
    made = Catalog.open(tmp_path / "catalog.sqlite")
    made.home(clock=utc_now, new_id=lambda: str(uuid4()))
    with made.transaction() as transaction:
        transaction.execute(insert(projects), [{"id": each, "name": each} for each in NAMES])
    yield made
    made.close()


@pytest.mark.parametrize("error", [CatalogFailed("x", "away"), TypeError("a bad row")])
def test_what_fails_in_one_project_hinders_no_other(catalog: Catalog, error: Exception) -> None:
    seen = []

    def act(app: App, _stopping: object) -> None:
        seen.append(str(app))
        if len(seen) == 1:
            raise error

    region = cast("Region", Projects())
    in_each_project(catalog, region, "it failed", act)(lambda: False)

    assert len(seen) == len(NAMES) + 1
    assert set(NAMES) <= set(seen)
