"""The catalog as a whole: transactions, and who it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select

from csbs.catalog.database import foreign_errors, open_database
from csbs.catalog.tables import identity, projects
from csbs.domain.clock import Clock, NewId
from csbs.domain.ids import ProjectId

#: What the queries run in.  Only `Catalog.transaction` makes one.
Transaction = Connection

REGION = "local"
PROJECT_NAME = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Who this catalog is, and the project that new servers belong to."""

    #: Owns repositories (docs/design/repository-format.md, "owners").
    catalog_id: str
    region: str
    project_id: ProjectId


class Catalog:
    """The facts of one region; may be used from several threads and processes."""

    def __init__(self, engine: Engine, *, name: str) -> None:
        self._engine = engine
        self._name = name

    @staticmethod
    def open(path: Path) -> Catalog:
        """The catalog in the SQLite file `path`, made where there is none.

        Raises `CatalogFailed`, `CatalogTooNew`.
        """
        return Catalog(open_database(path), name=str(path))

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """What the body does happens as a whole, durably, or not at all.

        Raises `CatalogFailed` if the database fails.
        """
        with foreign_errors(self._name), self._engine.begin() as connection:
            yield connection

    def home(self, *, clock: Clock, new_id: NewId) -> Home:
        """Who this catalog is; decided at the first call."""
        with self.transaction() as transaction:
            row = transaction.execute(select(identity)).one_or_none()
            if row is None:
                transaction.execute(
                    insert(identity).values(
                        id=1, catalog_id=new_id(), region=REGION, created_at=clock()
                    )
                )
                transaction.execute(
                    insert(projects).values(id=new_id().replace("-", ""), name=PROJECT_NAME)
                )
                row = transaction.execute(select(identity)).one()
            project_id = transaction.scalars(
                select(projects.c.id).where(projects.c.name == PROJECT_NAME)
            ).one()
        return Home(catalog_id=row.catalog_id, region=row.region, project_id=ProjectId(project_id))
