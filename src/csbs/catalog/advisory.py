"""Locks in PostgreSQL, for what files of one data folder cannot keep apart.

Several data folders, on several hosts, may use one catalog.  A lock belongs to a connection of its
own, and ends with it, however its process ends.

So it may also end before its holder: the database is restarted, or a network is cut.  A holder
asks, before each thing that must not happen without the lock, whether it has it still.  One that
was lost is taken anew, and that is good enough if nobody did meanwhile what the lock keeps apart:
`state` stands for that.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection

from csbs.catalog.database import foreign_errors
from csbs.domain.errors import CsbsError
from csbs.domain.lock_errors import LockLost

log = logging.getLogger(__name__)

_SHARED = "pg_try_advisory_lock_shared"
_EXCLUSIVE = "pg_try_advisory_lock"
_HELD_ELSEWHERE = "a csbs with another data folder, or on another host"


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """The lock of this name; `busy` makes the error for one that is held, from who holds it."""

    engine: Engine
    name: str
    busy: Callable[[str], CsbsError]
    #: What changes whenever somebody did what a holder must not miss; asked outside transactions.
    state: Callable[[], object] = lambda: None

    @contextmanager
    def shared(self, doing: str) -> Iterator[Callable[[], None]]:
        """Nobody holds it alone during the body.  Never waits: raises what `busy` makes.

        The body gets a function that raises `LockLost` if that was not so all the time, and
        `CatalogFailed` if nobody can tell.
        """
        with self._held(_SHARED, doing) as require:
            yield require

    @contextmanager
    def exclusive(self, doing: str) -> Iterator[Callable[[], None]]:
        """Nobody else holds it during the body; see `shared`."""
        with self._held(_EXCLUSIVE, doing) as require:
            yield require

    @contextmanager
    def _held(self, function: str, doing: str) -> Iterator[Callable[[], None]]:
        holder = _Holder(self, function, doing)
        try:
            holder.take()
            yield holder.require
        finally:
            holder.let_go()


class _Holder:
    """One who holds a lock; may be asked by several threads."""

    def __init__(self, lock: AdvisoryLock, function: str, doing: str) -> None:
        self._lock = lock
        self._function = function
        self._doing = doing
        #: As SQLAlchemy made it, and the driver's own.
        self._connection: tuple[PoolProxiedConnection, Any] | None = None
        self._state: object = None
        self._mutex = threading.Lock()

    def take(self) -> None:
        """Raises what `busy` makes if others hold it."""
        if not self._taken():
            raise self._lock.busy(_HELD_ELSEWHERE)
        self._state = self._lock.state()

    def require(self) -> None:
        """See `AdvisoryLock.shared`."""
        with self._mutex:
            if self._is_held():
                return
            self._close()
            log.warning("a lock was lost with its connection", extra={"lock": self._lock.name})
            if not self._taken():
                raise LockLost(self._doing, f"{_HELD_ELSEWHERE} has it now")
            if self._lock.state() != self._state:
                self._close()
                raise LockLost(self._doing, f"{_HELD_ELSEWHERE} had it meanwhile")

    def let_go(self) -> None:
        """Ends it, if it is there still."""
        from psycopg import Error  # noqa: PLC0415  see `_taken`

        with self._mutex:
            if self._connection is not None:
                with suppress(Error):  # else it goes with the connection
                    # The server lets go of an ended connection's locks only when it notices.
                    self._connection[1].execute("SELECT pg_advisory_unlock_all()")
            self._close()

    def _taken(self) -> bool:
        """Whether it is ours, on a new connection."""
        from psycopg import Error  # noqa: PLC0415  it takes long to load, and SQLite needs none

        with foreign_errors(self._lock.engine.url.render_as_string()):
            connection = self._lock.engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()  # it is ended by us, never given to somebody else
        try:
            driver.autocommit = True
            found = driver.execute(f"SELECT {self._function}(%s)", [lock_number(self._lock.name)])
            taken = bool(found.fetchone()[0])
        except Error as error:
            connection.close()
            raise LockLost(self._doing, str(error).strip()) from error
        if taken:
            self._connection = connection, driver
        else:
            connection.close()
        return taken

    def _is_held(self) -> bool:
        from psycopg import Error  # noqa: PLC0415  see `_taken`

        if self._connection is None:
            return False
        try:
            self._connection[1].execute("SELECT 1")
        except Error:
            return False
        return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection[0].close()
        self._connection = None


def lock_number(name: str) -> int:
    """The database numbers its locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
