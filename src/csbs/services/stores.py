"""The place of the project's repository: making it, looking at it, copying it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from csbs.compute.base import never
from csbs.repository import RepositoryDescription, describe
from csbs.repository.mirror import Mirror, MirrorIncomplete, MirrorReport, mirror
from csbs.repository.objectstore import ObjectStore
from csbs.services.repositories import RepositoryAccess
from csbs.workflows.run import Watcher


class NamedStore(NamedTuple):
    """A store, and what a person calls it."""

    name: str
    store: ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreService:
    """What a caller may do with the store as a whole."""

    repositories: RepositoryAccess
    #: The project's place in the store of the settings; nothing is made.
    open_store: Callable[[Callable[[], bool]], NamedStore]
    #: The project's place in the store at an address, made ready to be written to.
    open_target: Callable[[str, Callable[[], bool]], NamedStore]

    def init(self) -> RepositoryDescription:
        """Makes the repository; one that is there stays as it is."""
        with self.repositories.shared("making the repository"):
            pass
        return self.show()

    def show(self) -> RepositoryDescription:
        """The repository as it is.  Raises `RepositoryNotFound`."""
        named = self.open_store(never)
        return describe(named.store, named.name)

    def copy(self, url: str, watcher: Watcher) -> MirrorReport:
        """Copies the repository to the store at `url`; see `mirror` for what is there then.

        Backups may be made meanwhile, but not collected.  Raises `InvalidStoreUrl`,
        `RepositoryLocked`, and `MirrorIncomplete` when all but damaged packs was copied.
        """
        with self.repositories.lock.shared("copying the repository"):
            source = self.open_store(watcher.cancel.is_set)
            target = self.open_target(url, watcher.cancel.is_set)
            report = mirror(
                Mirror(
                    source=source.store,
                    target=target.store,
                    source_name=source.name,
                    target_name=target.name,
                    progress=watcher.on_progress,
                    cancelled=watcher.cancel.is_set,
                )
            )
        if report.damaged:
            raise MirrorIncomplete(source.name, report.damaged)
        return report
