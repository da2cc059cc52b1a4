"""Opening the catalog's database: SQLite, made and migrated on first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError

from csbs.domain.errors import CatalogFailed, CatalogTooNew

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest migration (a test compares); known here so that a command on an up-to-date catalog
#: need not load Alembic.
HEAD = "0003"

#: How long one process waits for another one's transaction.
_BUSY_TIMEOUT_S = 30


def open_database(path: Path) -> Engine:
    """The database at `path`, with the newest schema.

    Raises `CatalogFailed` if it cannot be used (rights, full disk, damage) and `CatalogTooNew`
    if a newer csbs wrote it.
    """
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin_immediate)
    with foreign_errors(str(path)):
        _migrate(engine, str(path))
    path.chmod(0o600)
    return engine


@contextmanager
def foreign_errors(name: str) -> Iterator[None]:
    """Turns the database's errors of the body into `CatalogFailed`."""
    try:
        yield
    except DBAPIError as error:
        raise CatalogFailed(name, str(error.orig)) from error
    except OSError as error:
        raise CatalogFailed(name, error.strerror or str(error)) from error


def migrations_of(engine: Engine) -> Config:
    """Alembic's settings for this database."""
    from alembic.config import Config  # noqa: PLC0415  see `HEAD`

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def _migrate(engine: Engine, name: str) -> None:
    present = _revision(engine)
    if present == HEAD:
        return
    from alembic import command  # noqa: PLC0415  see `HEAD`
    from alembic.script import ScriptDirectory  # noqa: PLC0415  see `HEAD`

    config = migrations_of(engine)
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise CatalogTooNew(name, present)
    command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _set_up(connection: SqliteConnection, _record: Any) -> None:
    # Transactions are begun by us (`_begin_immediate`), not by the driver in its own way.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        # A committed fact survives a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later could fail at the write otherwise.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
