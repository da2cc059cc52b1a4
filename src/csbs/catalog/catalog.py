"""The catalog as a whole: transactions, and who it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, update

from csbs.catalog.advisory import AdvisoryLock
from csbs.catalog.database import foreign_errors, name_of, open_database
from csbs.catalog.postgres import ONLY_READS
from csbs.catalog.tables import identity, projects, servers
from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import CsbsError, Refused
from csbs.domain.ids import ProjectId

log = logging.getLogger(__name__)

#: What the queries run in.  Only `Catalog.transaction` makes one.
Transaction = Connection

REGION = "local"
PROJECT_NAME = "local"


@dataclass(eq=False)
class ProjectInUse(Refused):
    """The catalog has servers of another project than the one that is to be rebuilt."""

    catalog: str
    project: str
    wanted: str

    template = (
        "the catalog {0.catalog} has servers of project {0.project} already, and the repository is "
        "that of project {0.wanted}: use another data folder (--data-dir). Nothing was changed"
    )


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
    def open(place: Path | str) -> Catalog:
        """The catalog in this SQLite file, or at this URL of PostgreSQL; made where there is none.

        Raises `CatalogFailed`, `CatalogTooNew`.
        """
        return Catalog(open_database(place), name=name_of(place))

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def lock(
        self,
        name: str,
        busy: Callable[[str], CsbsError],
        state: Callable[[], object] = lambda: None,
    ) -> AdvisoryLock | None:
        """A lock that all who use this catalog share; None for a file, which one folder has.

        `busy` makes the error for one that is held; for `state` see `AdvisoryLock`.
        """
        if self._engine.dialect.name == "sqlite":
            return None
        return AdvisoryLock(self._engine, name, busy, state)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """What the body does happens as a whole, durably, or not at all.

        Raises `CatalogFailed` if the database fails.
        """
        with foreign_errors(self._name), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """What the body sees is all as of one moment; it waits for nobody, and nobody for it.

        For what may take long, as lists do.  Raises `CatalogFailed` if the database fails.
        """
        engine = self._engine.execution_options(**{ONLY_READS: True})
        with foreign_errors(self._name), engine.begin() as connection:
            yield connection

    def home(self, *, clock: Clock, new_id: NewId, former: Home | None = None) -> Home:
        """Who this catalog is; decided at the first call.

        `former` is who a catalog was that is lost, and that this one takes the place of.
        """
        with self.transaction() as transaction:
            row = transaction.execute(select(identity)).one_or_none()
            if row is None:
                if former is not None:
                    log.warning("the catalog was lost: `csbs repository rebuild-catalog` fills it")
                transaction.execute(
                    insert(identity).values(
                        id=1,
                        catalog_id=former.catalog_id if former else new_id(),
                        region=REGION,
                        created_at=clock(),
                    )
                )
                own_id = former.project_id if former else new_id().replace("-", "")
                transaction.execute(insert(projects).values(id=own_id, name=PROJECT_NAME))
                row = transaction.execute(select(identity)).one()
            project_id = transaction.scalars(
                select(projects.c.id).where(projects.c.name == PROJECT_NAME)
            ).one()
        return Home(catalog_id=row.catalog_id, region=row.region, project_id=ProjectId(project_id))

    def adopt_project(self, project_id: ProjectId) -> None:
        """Gives the project of this catalog another id: that of a repository that is there.

        Raises `ProjectInUse` if the catalog knows servers already.
        """
        with self.transaction() as transaction:
            own = projects.c.name == PROJECT_NAME
            former = transaction.scalars(select(projects.c.id).where(own)).one()
            if former == project_id:
                return
            if transaction.execute(select(servers.c.id).limit(1)).first() is not None:
                raise ProjectInUse(self._name, former, project_id)
            transaction.execute(update(projects).where(own).values(id=project_id))
