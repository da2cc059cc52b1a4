"""Where a catalog can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.testing.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "catalog.sqlite"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database()
