"""Locks in PostgreSQL, for what files of one data folder cannot keep apart.

Several data folders, on several hosts, may use one catalog.  A lock belongs to a connection of its
own, and ends with it, however its process ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Engine

from csbs.domain.errors import CsbsError


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """The lock of this name; `busy` makes the error for one that is held, from who holds it."""

    engine: Engine
    name: str
    busy: Callable[[str], CsbsError]

    @contextmanager
    def shared(self, doing: str) -> Iterator[None]:
        """Nobody holds it alone during the body.  Never waits: raises what `busy` makes."""
        del doing  # a database does not say what its clients do
        with self._held("pg_try_advisory_lock_shared"):
            yield

    @contextmanager
    def exclusive(self, doing: str) -> Iterator[None]:
        """Nobody else holds it during the body.  Never waits: raises what `busy` makes."""
        del doing
        with self._held("pg_try_advisory_lock"):
            yield

    @contextmanager
    def _held(self, function: str) -> Iterator[None]:
        from psycopg import Error  # noqa: PLC0415  it takes long to load, and SQLite needs none

        connection = self.engine.raw_connection()
        try:
            driver = connection.driver_connection
            assert driver is not None, "it is open"
            connection.detach()  # it is ended below, never given to somebody else
            driver.autocommit = True
            found = driver.execute(f"SELECT {function}(%s)", [_key(self.name)]).fetchone()
            if not found[0]:
                raise self.busy("a csbs with another data folder, or on another host")
            try:
                yield
            finally:
                with suppress(Error):  # else it goes with the connection
                    # The server lets go of an ended connection's locks only when it notices.
                    driver.execute("SELECT pg_advisory_unlock_all()")
        finally:
            connection.close()


def _key(name: str) -> int:
    """The database numbers its locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
