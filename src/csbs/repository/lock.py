"""The lock between collection and all else that uses a repository.

`flock` frees itself when its process dies, however it dies.  The file says who holds it; where
several share it, who came last.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csbs.domain.errors import FolderDenied
from csbs.repository.errors import RepositoryLocked

_HOLDER_SIZE_MAX = 200


class RepositoryLock:
    """The lock in the file `path`, which is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def shared(self, doing: str) -> Iterator[None]:
        """Nobody collects during the body.

        Raises `RepositoryLocked`, with what the holder does, and `FolderDenied`.
        """
        with self._held(doing, fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self, doing: str) -> Iterator[None]:
        """Nobody else uses the repository during the body; raises like `shared`."""
        with self._held(doing, fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, doing: str, how: int) -> Iterator[None]:
        descriptor = self._open()
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RepositoryLocked(str(self._path), self._holder(descriptor)) from None
            text = f"{doing} (process {os.getpid()})".encode()[:_HOLDER_SIZE_MAX]
            os.pwrite(descriptor, text.ljust(_HOLDER_SIZE_MAX), 0)
            yield
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderDenied(str(self._path.parent), error.strerror or str(error)) from error

    def _holder(self, descriptor: int) -> str:
        text = os.pread(descriptor, _HOLDER_SIZE_MAX, 0).decode("utf-8", "replace").strip()
        return text or "another process holds it"
