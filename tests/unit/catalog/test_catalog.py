"""The catalog on a real SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from csbs.catalog import Catalog
from csbs.catalog.database import HEAD, migrations_of, open_database
from csbs.catalog.tables import metadata
from csbs.domain.errors import (
    CatalogFailed,
    CatalogTooNew,
)
from csbs.domain.ids import ProjectId
from csbs.domain.server import DiskDescription
from csbs.testing.catalog_contract import CatalogContract
from csbs.testing.event_catalog_contract import EventCatalogContract, RpoCatalogContract
from csbs.testing.expiry_catalog_contract import ExpiryCatalogContract
from csbs.testing.identity_catalog_contract import IdentityCatalogContract
from csbs.testing.policy_catalog_contract import PolicyCatalogContract
from csbs.testing.run_catalog_contract import RunCatalogContract
from csbs.testing.upkeep_contract import UpkeepContract
from csbs.testing.values import START

IDS = iter(f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 1000))
DISK = DiskDescription(target="vda", source="/a", format="qcow2", size_bytes=10)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog.sqlite")


@pytest.fixture
def project(catalog: Catalog) -> ProjectId:
    return catalog.home(clock=lambda: START, new_id=lambda: next(IDS)).project_id


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "catalog.sqlite")

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_known_one() -> None:
    config = migrations_of(create_engine("sqlite://"))

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_catalog_stays_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    homes = []
    for _ in range(2):
        catalog = Catalog.open(path)
        homes.append(catalog.home(clock=lambda: START, new_id=lambda: next(IDS)))
        catalog.close()

    assert homes[0] == homes[1]
    assert len(homes[0].project_id) == 32


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    connection.close()

    with pytest.raises(CatalogTooNew, match="Nothing was changed"):
        Catalog.open(path)


def test_a_damaged_catalog_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(CatalogFailed, match=r"catalog\.sqlite"):
        Catalog.open(path)


class TestCatalogOnSqlite(CatalogContract):
    """See `CatalogContract`."""


class TestPoliciesOnSqlite(PolicyCatalogContract):
    """See `PolicyCatalogContract`."""


class TestIdentityOnSqlite(IdentityCatalogContract):
    """See `IdentityCatalogContract`."""


class TestExpiryOnSqlite(ExpiryCatalogContract):
    """See `ExpiryCatalogContract`."""


class TestUpkeepOnSqlite(UpkeepContract):
    """See `UpkeepContract`."""


class TestRunsOnSqlite(RunCatalogContract):
    """See `RunCatalogContract`."""


class TestEventsFile(EventCatalogContract):
    """See `EventCatalogContract`."""


class TestRpoFile(RpoCatalogContract):
    """See `RpoCatalogContract`."""
