"""A real PostgreSQL of one's own, on a free port of 127.0.0.1; it ends with this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from csbs.blockio.processes import run_tool
from csbs.domain.errors import ToolFailed
from csbs.testing.ports import free_ports

_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 30.0
_READY = "database system is ready to accept connections"
#: It refuses to run as root; Debian's package makes this user.
_USER = "postgres"
#: No test can tell whether a write reached a disk.
_OPTIONS = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1"}


class Postgres:
    """The server; `start` it, and `stop` it at the end."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """Keeps everything in `folder`, which the user `postgres` must be able to enter.

        `durable`: what was committed is on the disk, as benchmarks need it.
        """
        self._options = _OPTIONS | {"fsync": "on" if durable else "off"}
        self._folder = folder
        self._data = folder / "data"
        [self._port] = free_ports(1)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def new_database(self) -> str:
        """The URL of an empty database, which sorts texts as people of the US do, not as Python."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            order = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            connection.execute(f"CREATE DATABASE {name} {order}".encode())
        return self._url(name)

    def start(self) -> None:
        """Returns when it takes connections.  Raises `ToolFailed`."""
        if not self._data.exists():
            shutil.chown(self._folder, _USER, _USER)
            self._make_cluster()
        options = [
            f"-c{name}={value}" for name, value in (self._options | {"port": self._port}).items()
        ]
        self._process = subprocess.Popen(
            [*_as_user(), str(_binary("postgres")), "-D", str(self._data), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._wait_until_ready(self._process)

    def kill(self) -> None:
        """Ends it as a crash would; what was committed is there when it is started again."""
        assert self._process is not None, "it runs"
        # The postmaster ends its children at once, without a checkpoint.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(_STOP_TIMEOUT_S)
        assert self._reader is not None, "it was started"
        self._reader.join()
        self._process = self._reader = None

    def processes(self) -> list[int]:
        """Ids of all its processes, the first one first."""
        assert self._process is not None, "it runs"
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text("ascii").split()
        return [first, *map(int, children)]

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self.kill()

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/{database}"

    def _make_cluster(self) -> None:
        command = [str(_binary("initdb")), "-D", str(self._data), "-U", _USER, "-A", "trust"]
        run_tool(
            [*_as_user(), *command, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
            doing="making a database cluster",
            timeout_s=_START_TIMEOUT_S,
        )

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        ready, said = threading.Event(), list[str]()

        def read() -> None:
            assert process.stderr is not None
            with process.stderr as lines:
                for line in lines:
                    said.append(line)
                    if _READY in line:
                        ready.set()
            ready.set()

        self._reader = threading.Thread(target=read, name="postgres-log", daemon=True)
        self._reader.start()
        if not ready.wait(_START_TIMEOUT_S) or process.poll() is not None:
            raise ToolFailed("postgres", "starting", "".join(said[-10:]))


@contextmanager
def postgres_running(*, durable: bool = False) -> Iterator[Postgres]:
    """A server in a folder of its own, until the body ends; `durable`: as one in service."""
    # Not below pytest's folders: nobody else than root can enter them.
    with tempfile.TemporaryDirectory(prefix="csbs-postgres-") as name:
        Path(name).chmod(0o755)
        server = Postgres(Path(name), durable=durable)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _as_user() -> list[str]:
    """Runs a program as that user; it gets SIGQUIT when this process dies."""
    if os.geteuid() != 0:
        return []
    user = [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    return ["setpriv", *user, "--pdeathsig", "QUIT"]


def _binary(name: str) -> Path:
    """Debian keeps them out of PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise ToolFailed(name, "looking for PostgreSQL", "the package postgresql is not installed")
    return found[-1]
