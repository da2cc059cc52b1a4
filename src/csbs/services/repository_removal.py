"""Removing the repository of a project that is deleted.

Its config goes first: from then on nobody takes what is left for a repository, and what a kill
leaves is removed by the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csbs.compute.base import never
from csbs.domain.tenancy import ProjectNotEmpty
from csbs.services.repositories import RepositoryAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRemoval:
    """Of one project."""

    repositories: RepositoryAccess
    #: Whether there is a repository, so that looking does not make one.
    is_made: Callable[[], bool]
    #: Removes all of it, and what this machine keeps of it; may be repeated.
    erase: Callable[[], None]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is at work in it during the body.  Raises `RepositoryLocked`."""
        with self.repositories.lock.exclusive("the deletion of its project"):
            yield

    def require_empty(self, project: str) -> None:
        """Raises `ProjectNotEmpty` while something can be restored from it, whoever wrote that.

        The catalog may know less than the store: it may have been made anew.
        """
        if not self.is_made():
            return
        repository = self.repositories.open_repository(never)
        repository.require_owner()
        count = sum(1 for _ in repository.manifests())
        if count:
            raise ProjectNotEmpty(project, f"{count} backups in its repository {repository.name}")
