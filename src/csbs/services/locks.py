"""One operation per server, and who may use the data folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from csbs.compute.base import never
from csbs.domain.clock import Monotonic, Sleep
from csbs.domain.errors import (
    Conflict,
    DataFolderBusy,
    OperationCancelled,
    ServerBusy,
)
from csbs.domain.ids import ServerId
from csbs.repository import FileLock

T = TypeVar("T")

#: How often a waiting caller looks again.
_RETRY_INTERVAL_S = 0.1


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
    """Locks of servers, in the run folder."""

    run_folder: Path
    monotonic: Monotonic
    sleep: Sleep

    @contextmanager
    def server(self, server: NamedServer, doing: str, *, wait_s: float = 0) -> Iterator[None]:
        """No other csbs works on the server during the body.

        Raises `ServerBusy` (with what the holder does) if that is not so within `wait_s`, and
        `FolderDenied` without rights on the run folder.
        """
        lock = FileLock(
            self.run_folder / f"{server.id}.lock", lambda holder: ServerBusy(server.name, holder)
        )
        with ExitStack() as held:
            self.enter(held, lambda: lock.exclusive(doing), cancelled=never, wait_s=wait_s)
            yield

    def enter(
        self,
        held: ExitStack,
        make: Callable[[], AbstractContextManager[T]],
        *,
        cancelled: Callable[[], bool],
        wait_s: float,
    ) -> T:
        """Enters what `make` makes, as soon as nobody holds it.

        Raises what it raised last if that is not so within `wait_s`, and `OperationCancelled`.
        """
        end = self.monotonic() + wait_s
        while True:
            try:
                return held.enter_context(make())
            except Conflict:
                if self.monotonic() >= end:
                    raise
            if cancelled():
                raise OperationCancelled("waiting for what others hold")
            self.sleep(_RETRY_INTERVAL_S)


class DataFolderServed(DataFolderBusy):
    """A service holds the data folder."""

    template = (
        "the data folder {0.folder} is in use: {0.doing}; commands work on it after `csbs login`, "
        "without --local, --data-dir and CSBS_DATA_DIR"
    )


def data_folder_in_use(folder: Path) -> AbstractContextManager[object]:
    """Local commands share the data folder; a service holds it alone.

    Raises `DataFolderServed` while a service holds it, `FolderDenied` without rights.
    """
    lock = FileLock(folder / "lock", lambda holder: DataFolderServed(str(folder), holder))
    return lock.shared("a local command")


def data_folder_alone(folder: Path) -> AbstractContextManager[object]:
    """A service holds the data folder alone, while it runs.

    Raises `DataFolderBusy` while a local command or another service uses it, `FolderDenied`
    without rights.
    """
    lock = FileLock(folder / "lock", lambda holder: DataFolderBusy(str(folder), holder))
    return lock.exclusive("csbs serve")
