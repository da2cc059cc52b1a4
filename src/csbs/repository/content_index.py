"""Digest -> address, to find blocks that the repository has already.

A cache in a private SQLite file: it may be incomplete, wrong or lost, which costs space and never
correctness, since each answer is checked against the footer of the pack that it names.  So it is
never synced, and a file that cannot be used is begun anew.

A row has the first 8 bytes of the digest as its key and a number for the pack: some 20 bytes,
32 million blocks (2 TiB) in less than 1 GB on disk, and next to nothing in memory.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from csbs.repository.node import Address

log = logging.getLogger(__name__)

#: Changes with every change of the tables; another file is begun anew.
_VERSION = 1

#: SQLite allows 32,766 parameters in a statement; one batch of an encoder has far fewer.
_KEYS_MAX = 1000

#: Another process that backs up into the same repository holds the file for milliseconds.
_BUSY_TIMEOUT_S = 5.0

_KEY = struct.Struct("<q")

_TABLES = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE packs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE blocks (
    key INTEGER PRIMARY KEY,
    pack INTEGER NOT NULL,
    slot INTEGER NOT NULL
);
"""


class ContentIndex:
    """The content index in the file `path`; may be used by several threads.

    It raises nothing: what cannot be asked is not known, what cannot be kept is forgotten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        with self._lock:
            self._open()

    def close(self) -> None:
        """Closes the file; afterwards nothing is known."""
        with self._lock:
            self._close()

    def find(self, digests: Sequence[bytes]) -> list[Address | None]:
        """For each digest where the block may be; None if that is not known."""
        keys = [_key(digest) for digest in digests]
        found: dict[int, Address] = {}
        with self._lock:
            for start in range(0, len(keys), _KEYS_MAX):
                some = keys[start : start + _KEYS_MAX]
                marks = ",".join("?" * len(some))
                # Only question marks are pasted in.
                statement = (
                    "SELECT key, id, slot FROM blocks JOIN packs ON number = pack "  # noqa: S608  see above
                    f"WHERE key IN ({marks})"
                )
                for key, pack_id, slot in self._run(statement, some):
                    found[key] = Address(pack_id, slot)
        return [found.get(key) for key in keys]

    def add_pack(self, pack_id: bytes, digests: Sequence[bytes]) -> None:
        """Keeps the blocks of a pack that is durable; `digests` are in the order of its slots."""
        self.add_slots(pack_id, list(enumerate(digests)))

    def add_slots(self, pack_id: bytes, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Keeps some blocks of a pack that is durable: their slots and digests."""
        with self._lock:
            self._run("INSERT OR IGNORE INTO packs (id) VALUES (?)", [pack_id])
            for (number,) in self._run("SELECT number FROM packs WHERE id = ?", [pack_id]):
                self._run_many(
                    "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)",
                    [(_key(digest), number, slot) for slot, digest in blocks],
                )

    def drop_packs(self, pack_ids: Iterable[bytes]) -> None:
        """Forgets all that is in these packs."""
        with self._lock:
            ids = [(pack_id,) for pack_id in pack_ids]
            if ids:
                self._run_many("DELETE FROM packs WHERE id = ?", ids)
                self._run("DELETE FROM blocks WHERE pack NOT IN (SELECT number FROM packs)", [])

    def rebuild(self, packs: Iterable[tuple[bytes, Sequence[tuple[int, bytes]]]]) -> None:
        """Begins anew with these packs: of each some slots and their digests."""
        with self._lock:
            self._begin_anew()
        for pack_id, blocks in packs:
            self.add_slots(pack_id, blocks)

    def _run(self, statement: str, values: Sequence[int | bytes]) -> list[tuple[Any, ...]]:
        if self._database is None:
            return []
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            self._failed(error)
            return []

    def _run_many(self, statement: str, rows: Sequence[tuple[int | bytes, ...]]) -> None:
        if self._database is None:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(statement, rows)
            except sqlite3.Error:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed(error)

    def _failed(self, error: sqlite3.Error) -> None:
        log.warning("the content index failed", extra={"path": str(self._path), "why": str(error)})
        if not isinstance(error, sqlite3.OperationalError):  # not busy or full: damaged
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._close()
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._connect()
        except (OSError, sqlite3.Error) as error:
            log.warning("no content index", extra={"path": str(self._path), "why": str(error)})
            self._close()

    def _open(self) -> None:
        try:
            if not self._connect():
                self._begin_anew()
        except sqlite3.Error:
            self._begin_anew()

    def _connect(self) -> bool:
        """Opens the file and makes its tables; False if it has those of another version."""
        database = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._database = database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            database.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        return version in (0, _VERSION)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _key(digest: bytes) -> int:
    number: int = _KEY.unpack_from(digest)[0]
    return number
