"""One operation per server, one owner of the data folder: locks that end with their holder.

`flock` frees itself when its process dies, however it dies.  The file says who holds it, for the
error that others get.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from csbs.domain.clock import Monotonic, Sleep
from csbs.domain.errors import CsbsError, DataFolderBusy, FolderDenied, ServerBusy
from csbs.domain.ids import ServerId

#: How often a waiting caller looks again.
_RETRY_INTERVAL_S = 0.1
_HOLDER_SIZE_MAX = 200


class NamedServer(Protocol):
    """What is locked: a server of the host, or one that only its backups remember."""

    @property
    def id(self) -> ServerId:
        """Gives the lock its name."""

    @property
    def name(self) -> str:
        """For the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locks:
    """Locks of servers (in the run folder) and of the data folder."""

    run_folder: Path
    monotonic: Monotonic
    sleep: Sleep

    @contextmanager
    def server(self, server: NamedServer, doing: str, *, wait_s: float = 0) -> Iterator[None]:
        """No other csbs works on the server during the body.

        Raises `ServerBusy` (with what the holder does) if that is not so within `wait_s`, and
        `FolderDenied` without rights on the run folder.
        """
        descriptor = _open(self.run_folder / f"{server.id}.lock")
        try:
            self._take(
                descriptor, wait_s, lambda: ServerBusy(server.name, _holder(descriptor) or doing)
            )
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{doing} (process {os.getpid()})".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int, wait_s: float, busy: Callable[[], CsbsError]) -> None:
        end = self.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self.monotonic() >= end:
                    raise busy() from None
                self.sleep(_RETRY_INTERVAL_S)
            else:
                return


@contextmanager
def data_folder_in_use(folder: Path) -> Iterator[None]:
    """Local commands share the data folder; a service would hold it alone.

    Raises `DataFolderBusy` while a service holds it, `FolderDenied` without rights.
    """
    descriptor = _open(folder / "lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderBusy(str(folder), _holder(descriptor) or "a service runs") from None
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderDenied(str(path.parent), error.strerror or str(error)) from error


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, _HOLDER_SIZE_MAX, 0).decode("utf-8", "replace")
