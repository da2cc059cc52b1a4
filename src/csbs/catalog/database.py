"""Opening the catalog's database, made and migrated on first use: SQLite or PostgreSQL.

On both, transactions run one after the other, as if each were alone: SQLite is told to take its
write lock at the beginning, PostgreSQL to wait for an advisory lock.  So a query may look, and a
later one of the same transaction act on what was seen.  Those that only read wait for nobody: they
see the catalog as of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from csbs.catalog.postgres import ONLY_READS, postgres_engine
from csbs.catalog.statistics import tell_sqlite
from csbs.domain.errors import CatalogFailed, CatalogTooNew, CsbsError
from csbs.domain.texts import TextUnusable

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest migration (a test compares); known here so that a command on an up-to-date catalog
#: need not load Alembic.
HEAD = "0010"

#: How long one process waits for another one's transaction.
_BUSY_TIMEOUT_S = 30


def open_database(place: Path | str) -> Engine:
    """The database in the SQLite file, or at the URL of PostgreSQL, with the newest schema.

    Raises `CatalogFailed` if it cannot be used (rights, full disk, damage, no answer) and
    `CatalogTooNew` if a newer csbs wrote it.
    """
    name = name_of(place)
    engine = _sqlite(place) if isinstance(place, Path) else postgres_engine(place)
    try:
        with foreign_errors(name):
            _migrate(place, engine)
    except CsbsError:
        engine.dispose()
        raise
    if isinstance(place, Path):
        place.chmod(0o600)
    return engine


def name_of(place: Path | str) -> str:
    """How errors name the database: without a password."""
    return str(place) if isinstance(place, Path) else make_url(place).render_as_string()


def _sqlite(path: Path, *, foreign_keys: bool = True) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", partial(_set_up, foreign_keys=foreign_keys))
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def foreign_errors(name: str) -> Iterator[None]:
    """Turns the database's errors of the body into `CatalogFailed`, or `TextUnusable`."""
    try:
        yield
    except DBAPIError as error:
        raise CatalogFailed(name, str(error.orig).strip()) from error
    except StatementError as error:
        if isinstance(error.orig, TextUnusable):
            raise error.orig from None
        raise
    except PoolTimeout as error:
        raise CatalogFailed(name, "all its connections are in use") from error
    except OSError as error:
        raise CatalogFailed(name, error.strerror or str(error)) from error


def migrations_of(engine: Engine) -> Config:
    """Alembic's settings for this database."""
    from alembic.config import Config  # noqa: PLC0415  see `HEAD`

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def _migrate(place: Path | str, engine: Engine) -> None:
    present = _revision(engine)
    if present == HEAD:
        return
    from alembic import command  # noqa: PLC0415  see `HEAD`
    from alembic.script import ScriptDirectory  # noqa: PLC0415  see `HEAD`

    config = migrations_of(engine)
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise CatalogTooNew(name_of(place), present)
    if isinstance(place, Path):
        # A migration may make a table anew, and the end of the old one would take all rows along
        # that refer to it.
        free = _sqlite(place, foreign_keys=False)
        try:
            command.upgrade(migrations_of(free), "head")
        finally:
            free.dispose()
        tell_sqlite(engine)
    else:
        command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _set_up(connection: SqliteConnection, _record: Any, *, foreign_keys: bool) -> None:
    # Transactions are begun by us (`_begin`), not by the driver in its own way.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        # A committed fact survives a power cut.
        "synchronous = FULL",
        f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later could fail at the write otherwise.
    only_reads = connection.get_execution_options().get(ONLY_READS, False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")
