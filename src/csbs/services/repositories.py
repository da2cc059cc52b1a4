"""The project's repository: opened under its lock, and collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from csbs.compute.base import never
from csbs.domain.errors import Corrupt, OperationCancelled
from csbs.repository import (
    CollectProgress,
    CollectReport,
    ContentIndex,
    Repository,
)
from csbs.repository.errors import RepositoryLocked
from csbs.repository.objectstore import ObjectStore
from csbs.services.courtesy import Courtesy


@dataclass(eq=False)
class ManifestsLost(Corrupt):
    """The store lacks manifests of backups that the catalog calls restorable."""

    repository: str
    keys: tuple[str, ...]

    @property
    def _keys(self) -> str:
        return ", ".join(self.keys)

    template = (
        "the repository at {0.repository} lacks {0._keys}: is the store mounted and copied whole? "
        "Delete those backups if they are lost for good. Nothing was removed"
    )


#: Raises `LockLost` if a lock that is thought to be held was lost meanwhile.
StillHeld = Callable[[], None]


class SharedLock(Protocol):
    """A lock that never waits: raises an error that says who holds it."""

    def shared(self, doing: str) -> AbstractContextManager[StillHeld]:
        """Nobody holds it alone during the body."""

    def exclusive(self, doing: str) -> AbstractContextManager[StillHeld]:
        """Nobody else holds it during the body."""


@dataclass(frozen=True, slots=True)
class Locked:
    """Several locks as one: taken in this order."""

    locks: tuple[SharedLock, ...]

    @contextmanager
    def shared(self, doing: str) -> Iterator[StillHeld]:
        """See `SharedLock.shared`."""
        with ExitStack() as held:
            yield _all([held.enter_context(lock.shared(doing)) for lock in self.locks])

    @contextmanager
    def exclusive(self, doing: str) -> Iterator[StillHeld]:
        """See `SharedLock.exclusive`."""
        with ExitStack() as held:
            yield _all([held.enter_context(lock.exclusive(doing)) for lock in self.locks])


def _all(each_held: Sequence[StillHeld]) -> StillHeld:
    def require() -> None:
        for still_held in each_held:
            still_held()

    return require


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """Opens the repository (made at the first use) for writers and readers, or for collection."""

    lock: SharedLock
    #: Calls to its store end soon after the argument says that they are not wanted any more.
    open_repository: Callable[[Callable[[], bool]], Repository]
    #: The same store, for what needs nothing but its objects.
    open_store: Callable[[Callable[[], bool]], ObjectStore]
    open_index: Callable[[Repository], ContentIndex]
    #: Manifest keys of all backups that can be restored, as the catalog has them.
    restorable_keys: Callable[[], Iterable[str]]
    #: Told of each collection, before it removes anything.
    raise_epoch: Callable[[], None] = lambda: None
    #: Told of each collection that came to its end.
    collected: Callable[[], None] = lambda: None
    #: Between a collection that began by itself, and who asks for the repository.
    courtesy: Courtesy = field(default_factory=Courtesy)

    @contextmanager
    def shared(self, doing: str, *, cancelled: Callable[[], bool] = never) -> Iterator[Repository]:
        """For a writer or reader.

        Raises `RepositoryLocked` while a collection runs that somebody asked for; one that began by
        itself gives way.
        """
        with self._asked_for(doing, cancelled) as still_held:
            repository = self.open_repository(cancelled)
            repository.rely_on(still_held)
            yield repository

    @contextmanager
    def shared_store(
        self, doing: str, *, cancelled: Callable[[], bool] = never
    ) -> Iterator[ObjectStore]:
        """Like `shared`, for who needs the store alone: no key, nothing of it is read."""
        with self._asked_for(doing, cancelled):
            yield self.open_store(cancelled)

    @contextmanager
    def writing(
        self, doing: str, *, cancelled: Callable[[], bool]
    ) -> Iterator[tuple[Repository, ContentIndex]]:
        """Like `shared`, with the content index that speeds up writing.

        Raises `RepositoryOwned` if the repository belongs to another catalog.
        """
        with self.shared(doing, cancelled=cancelled) as repository:
            repository.require_owner()
            index = self.open_index(repository)
            try:
                yield repository, index
            finally:
                index.close()

    def collect(
        self,
        on_progress: Callable[[CollectProgress], None],
        *,
        stopped: Callable[[], bool] = never,
    ) -> CollectReport:
        """Frees the space of deleted and failed backups.

        Raises `OperationCancelled` soon after `stopped`: what was done is done.  Raises
        `RepositoryLocked` while a writer or reader is at work, and `RepositoryOwned` if the
        repository belongs to another catalog.  Removes nothing and raises `ManifestsLost` if the
        store lacks a backup that the catalog has: it may not be there as a whole.
        """
        with self.alone("collection") as (repository, index):
            return self._collect(repository, index, on_progress, stopped)

    def collect_until_asked(self, asked_elsewhere: Callable[[], bool]) -> CollectReport:
        """Like `collect`, but gives way to whoever asks for the repository.

        Raises `OperationCancelled` soon after somebody asks, here or, by `asked_elsewhere`, in
        another process; what was done is done.
        """
        with self.courtesy.working() as asked_here:

            def stopped() -> bool:
                return asked_here() or asked_elsewhere()

            with (
                self.lock.exclusive("collection") as still_held,
                self._opened(still_held, asked_here) as (repository, index),
            ):
                return self._collect(repository, index, lambda _: None, stopped)

    @contextmanager
    def alone(self, doing: str) -> Iterator[tuple[Repository, ContentIndex]]:
        """For what nobody may write or read beside.  Raises `RepositoryLocked` while one does."""
        with ExitStack() as held:
            still_held = self._enter(held, lambda: self.lock.exclusive(doing), never)
            with self._opened(still_held, never) as parts:
                yield parts

    @contextmanager
    def _opened(
        self, still_held: StillHeld, cancelled: Callable[[], bool]
    ) -> Iterator[tuple[Repository, ContentIndex]]:
        repository = self.open_repository(cancelled)
        repository.rely_on(still_held)
        index = self.open_index(repository)
        try:
            yield repository, index
        finally:
            index.close()

    def _collect(
        self,
        repository: Repository,
        index: ContentIndex,
        on_progress: Callable[[CollectProgress], None],
        stopped: Callable[[], bool],
    ) -> CollectReport:
        self._require_all(repository, stopped)
        self.raise_epoch()
        report = repository.collect(index, progress=on_progress, stopped=stopped)
        self.collected()
        return report

    @contextmanager
    def _asked_for(self, doing: str, cancelled: Callable[[], bool]) -> Iterator[StillHeld]:
        with ExitStack() as held:
            yield self._enter(held, lambda: self.lock.shared(doing), cancelled)

    def _enter(
        self,
        held: ExitStack,
        make: Callable[[], AbstractContextManager[StillHeld]],
        cancelled: Callable[[], bool],
    ) -> StillHeld:
        """Takes a lock, for which a collection that began by itself gives way."""
        try:
            return held.enter_context(make())
        except RepositoryLocked:
            if not self.courtesy.ask(cancelled):
                raise
            return held.enter_context(make())

    def _require_all(self, repository: Repository, stopped: Callable[[], bool]) -> None:
        def check() -> None:
            if stopped():
                raise OperationCancelled("the collection")

        there = {manifest.key for manifest in repository.manifests(check)}
        lost = sorted(set(self.restorable_keys()) - there)
        if lost:
            raise ManifestsLost(repository.name, tuple(lost))
