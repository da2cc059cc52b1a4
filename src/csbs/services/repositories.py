"""The project's repository: opened under its lock, and collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csbs.repository import (
    CollectProgress,
    CollectReport,
    ContentIndex,
    FileLock,
    Repository,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """Opens the repository (made at the first use) for writers and readers, or for collection."""

    lock: FileLock
    open_repository: Callable[[], Repository]
    open_index: Callable[[Repository], ContentIndex]

    @contextmanager
    def shared(self, doing: str) -> Iterator[Repository]:
        """For a writer or reader.  Raises `RepositoryLocked` while a collection runs."""
        with self.lock.shared(doing):
            yield self.open_repository()

    @contextmanager
    def writing(self, doing: str) -> Iterator[tuple[Repository, ContentIndex]]:
        """Like `shared`, with the content index that speeds up writing."""
        with self.shared(doing) as repository:
            index = self.open_index(repository)
            try:
                yield repository, index
            finally:
                index.close()

    def collect(self, on_progress: Callable[[CollectProgress], None]) -> CollectReport:
        """Frees the space of deleted and failed backups.

        Raises `RepositoryLocked` while a writer or reader is at work, and `RepositoryOwned` if
        the repository belongs to another catalog.
        """
        with self.lock.exclusive("collection"):
            repository = self.open_repository()
            index = self.open_index(repository)
            try:
                return repository.collect(index, progress=on_progress)
            finally:
                index.close()
