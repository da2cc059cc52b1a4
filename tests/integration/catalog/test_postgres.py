"""The catalog on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from csbs.app import open_home
from csbs.catalog import Catalog, tasks
from csbs.catalog.database import open_database
from csbs.catalog.tables import metadata
from csbs.config import Settings
from csbs.domain.errors import CatalogFailed, CatalogTooNew, CsbsError, DataFolderBusy
from csbs.domain.ids import ProjectId
from csbs.domain.lock_errors import LockLost
from csbs.testing.catalog_contract import CatalogContract, waiting
from csbs.testing.event_catalog_contract import EventCatalogContract, RpoCatalogContract
from csbs.testing.expiry_catalog_contract import ExpiryCatalogContract
from csbs.testing.identity_catalog_contract import IdentityCatalogContract
from csbs.testing.policy_catalog_contract import PolicyCatalogContract
from csbs.testing.ports import free_ports
from csbs.testing.postgres import Postgres, postgres_running
from csbs.testing.run_catalog_contract import RunCatalogContract
from csbs.testing.upkeep_contract import UpkeepContract
from csbs.testing.values import START


class _Busy(CsbsError):
    """Somebody holds the lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    catalog = Catalog.open(url)
    yield catalog
    catalog.close()


@pytest.fixture
def project(catalog: Catalog) -> ProjectId:
    return catalog.home(clock=lambda: START, new_id=lambda: str(uuid4())).project_id


class TestCatalogOnPostgres(CatalogContract):
    """See `CatalogContract`."""


class TestPoliciesOnPostgres(PolicyCatalogContract):
    """See `PolicyCatalogContract`."""


class TestIdentityOnPostgres(IdentityCatalogContract):
    """See `IdentityCatalogContract`."""


class TestExpiryOnPostgres(ExpiryCatalogContract):
    """See `ExpiryCatalogContract`."""


class TestUpkeepOnPostgres(UpkeepContract):
    """See `UpkeepContract`."""


class TestEventsOnPostgres(EventCatalogContract):
    """See `EventCatalogContract`."""


class TestRpoOnPostgres(RpoCatalogContract):
    """See `RpoCatalogContract`."""


def test_the_migrations_make_the_tables(url: str) -> None:
    engine = open_database(url)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_two_that_open_an_empty_database_make_one_catalog(url: str) -> None:
    first, second = Catalog.open(url), Catalog.open(url)
    homes = [
        each.home(clock=lambda: START, new_id=lambda: str(uuid4())) for each in (first, second)
    ]
    first.close()
    second.close()

    assert homes[0] == homes[1]


def test_a_newer_catalog_is_refused(url: str) -> None:
    Catalog.open(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")

    with pytest.raises(CatalogTooNew, match="Nothing was changed"):
        Catalog.open(url)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    [port] = free_ports(1)

    with pytest.raises(CatalogFailed, match=r"127\.0\.0\.1") as caught:
        Catalog.open(f"postgresql://csbs:secret@127.0.0.1:{port}/csbs")
    assert "secret" not in str(caught.value)


def test_a_server_that_was_killed_has_what_was_committed() -> None:
    with postgres_running() as server:
        catalog = Catalog.open(server.new_database())
        project = catalog.home(clock=lambda: START, new_id=lambda: str(uuid4())).project_id
        task = waiting(catalog, project)
        server.kill()
        with pytest.raises(CatalogFailed), catalog.transaction():
            pytest.fail("nobody answers")
        server.start()

        with catalog.transaction() as transaction:
            assert tasks.of_project(transaction, project) == [task]
        catalog.close()


def test_only_postgresql_is_a_database_by_url(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="postgresql://user"):
        Settings(data_dir=tmp_path, catalog_url="mysql://nowhere/csbs")


def test_a_lock_is_shared_or_alone_for_all_who_use_the_catalog(url: str) -> None:
    first, second = Catalog.open(url), Catalog.open(url)
    here, there = (each.lock("r", _Busy) for each in (first, second))
    assert here is not None
    assert there is not None

    with here.shared("a backup"), there.shared("a restore"):
        with pytest.raises(_Busy), there.exclusive("a collection"):
            pytest.fail("it is shared")
        assert second.lock("another", _Busy) != there
    with there.exclusive("a collection"), pytest.raises(_Busy), here.shared("a backup"):
        pytest.fail("it is held alone")
    with here.exclusive("a collection"):
        pass
    first.close()
    second.close()


def end_connections(url: str) -> None:
    """All others to that database, as a restart of the server does."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_lock_that_was_lost_is_taken_again_if_nobody_had_it_meanwhile(url: str) -> None:
    catalog, other = Catalog.open(url), Catalog.open(url)
    here, there = (each.lock("r", _Busy) for each in (catalog, other))
    assert here is not None
    assert there is not None

    with here.shared("a backup") as still_held:
        end_connections(url)
        still_held()
        with pytest.raises(_Busy), there.exclusive("a collection"):
            pytest.fail("it was taken again")
    with there.exclusive("a collection"):
        pass
    catalog.close()
    other.close()


@pytest.mark.parametrize("ended", [False, True])
def test_a_lock_that_another_had_meanwhile_is_lost(url: str, *, ended: bool) -> None:
    catalog, other, epochs = Catalog.open(url), Catalog.open(url), [1]
    here, there = (each.lock("r", _Busy, lambda: epochs[-1]) for each in (catalog, other))
    assert here is not None
    assert there is not None

    with ExitStack() as collecting, here.shared("a backup") as still_held:
        end_connections(url)
        collecting.enter_context(there.exclusive("a collection"))
        epochs.append(2)
        if ended:
            collecting.pop_all().close()
        for _ in range(2):
            with pytest.raises(LockLost, match="a backup was broken off"):
                still_held()
    catalog.close()
    other.close()


def test_one_service_has_a_catalog(url: str, tmp_path: Path) -> None:
    def settings(name: str) -> Settings:
        return Settings(data_dir=tmp_path / name, catalog_url=url)

    with (
        open_home(settings("a"), alone=True),
        pytest.raises(DataFolderBusy, match="another host"),
        open_home(settings("b"), alone=True),
    ):
        pytest.fail("there is a service already")
    with open_home(settings("b"), alone=True):
        pass


class TestRunsOnPostgres(RunCatalogContract):
    """See `RunCatalogContract`."""
