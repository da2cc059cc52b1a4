"""Locks that end with their holder.

`flock` frees itself when its process dies, however it dies.  The file says who holds it; where
several share it, who came last.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from csbs.domain.errors import CsbsError, folder_error
from csbs.repository.errors import RepositoryLocked

_HOLDER_SIZE_MAX = 200


def repository_lock(path: Path, repository: str) -> FileLock:
    """The lock between collection (exclusive) and all else that uses a repository (shared).

    `repository` names it in errors.
    """
    return FileLock(path, lambda holder: RepositoryLocked(repository, holder))


@dataclass(frozen=True, slots=True)
class FileLock:
    """The lock in the file `path`, which is made where it is missing.

    `busy` makes the error for one that is held, from what its holder does.
    """

    path: Path
    busy: Callable[[str], CsbsError]

    @contextmanager
    def shared(self, doing: str) -> Iterator[Callable[[], None]]:
        """Nobody holds it alone during the body.

        Never waits: raises what `busy` makes, and `FolderDenied` or
        `FolderUnusable` if the folder cannot be used.  The body gets a
        function that would raise if the lock were lost: this one never is.
        """
        with self._held(doing, fcntl.LOCK_SH):
            yield _never_lost

    @contextmanager
    def exclusive(self, doing: str) -> Iterator[Callable[[], None]]:
        """Nobody else holds it during the body; see `shared`."""
        with self._held(doing, fcntl.LOCK_EX):
            yield _never_lost

    @contextmanager
    def _held(self, doing: str, how: int) -> Iterator[None]:
        descriptor = self._open()
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self.busy(_holder(descriptor)) from None
            text = f"{doing} (process {os.getpid()})".encode()[:_HOLDER_SIZE_MAX]
            with suppress(OSError):  # a full file system: it is held without saying by whom
                os.pwrite(descriptor, text.ljust(_HOLDER_SIZE_MAX), 0)
            yield
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise folder_error(self.path.parent, error) from error


def _never_lost() -> None:
    """The kernel keeps it for as long as the descriptor is open."""


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, _HOLDER_SIZE_MAX, 0).decode("utf-8", "replace").strip()
    return text or "another process holds it"
