"""A run whose steps need a repository that is ours: looked up before each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from csbs.domain.task import Progress
from csbs.workflows.run import Run

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """See `Run`; all but `step` passes through."""

    inner: Run
    #: Raises `RepositoryOwned` if another catalog has taken the repository over.
    require_owner: Callable[[], None]

    def step(self, name: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does the step, unless the repository has another owner by now."""
        self.require_owner()
        return self.inner.step(name, action, *args, **kwargs)

    def progress(self, progress: Progress) -> None:
        """See `Run.progress`."""
        self.inner.progress(progress)

    def cancelled(self) -> bool:
        """See `Run.cancelled`."""
        return self.inner.cancelled()
