"""Work on a repository as a whole that takes longer than a call of the API may.

A chore is no task: it is in no catalog, and ends with the service.  Nothing is lost by that, since
a collection and a verification can be begun again at any time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from csbs.domain.clock import Clock, NewId, monotonic
from csbs.domain.errors import Conflict, CsbsError, NotFound, OperationCancelled
from csbs.domain.ids import ProjectId
from csbs.domain.task import Progress
from csbs.repository import CollectReport
from csbs.services.repositories import RepositoryAccess
from csbs.services.verification import VerifyDone, VerifyRequest, VerifyService
from csbs.workflows.run import Watcher

log = logging.getLogger(__name__)

#: Who asks how a chore ended does so soon.
_KEPT_MAX = 200
_STOP_WAIT_S = 30.0


class ChoreKind(StrEnum):
    """What is done."""

    COLLECTION = "collection"
    VERIFICATION = "verification"


class ChoreState(StrEnum):
    """How far it is."""

    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class ChoreNotFound(NotFound):
    """No chore of the project has this id, or it is forgotten: a restart of the service does so."""

    chore: str

    template = "there is no chore {0.chore}: a restart of the service forgets them. Begin it again"


@dataclass(eq=False)
class ChoreRuns(Conflict):
    """There is one of its kind already."""

    kind_of_chore: str
    chore: str

    template = "a {0.kind_of_chore} of this repository runs already, as chore {0.chore}"


@dataclass(slots=True, kw_only=True)
class Chore:
    """One chore; its thread writes, everybody reads."""

    id: str
    project_id: ProjectId
    kind: ChoreKind
    began_at: datetime
    state: ChoreState = ChoreState.RUNNING
    ended_at: datetime | None = None
    progress: Progress = field(default_factory=lambda: Progress("", 0, 0))
    error: CsbsError | None = None
    collected: CollectReport | None = None
    verified: VerifyDone | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


class Chores:
    """All chores of a process, the newest of those that have ended."""

    def __init__(self) -> None:
        self._chores: dict[str, Chore] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def begin(self, chore: Chore, work: Callable[[Chore], None], clock: Clock) -> None:
        """Does the work in a thread.  Raises `ChoreRuns`."""
        thread = threading.Thread(target=self._run, args=(chore, work, clock), name="chore")
        with self._lock:
            for each in self._chores.values():
                same = each.project_id == chore.project_id and each.kind is chore.kind
                if same and each.state is ChoreState.RUNNING:
                    raise ChoreRuns(chore.kind, each.id)
            self._chores[chore.id] = chore
            self._threads[chore.id] = thread
            self._forget()
        thread.start()

    def get(self, project_id: ProjectId, chore_id: str) -> Chore:
        """The chore.  Raises `ChoreNotFound`."""
        with self._lock:
            chore = self._chores.get(chore_id)
        if chore is None or chore.project_id != project_id:
            raise ChoreNotFound(chore_id)
        return chore

    def stop(self) -> bool:
        """Breaks them off; whether all have ended, which is waited for a while."""
        with self._lock:
            threads = list(self._threads.values())
            for chore in self._chores.values():
                chore.cancel.set()
        end_s = monotonic() + _STOP_WAIT_S
        for thread in threads:
            thread.join(max(0.0, end_s - monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, chore: Chore, work: Callable[[Chore], None], clock: Clock) -> None:
        state = ChoreState.ERROR
        try:
            work(chore)
            state = ChoreState.DONE
        except OperationCancelled as error:
            chore.error, state = error, ChoreState.CANCELLED
        except CsbsError as error:
            chore.error = error
        except Exception:  # the top of a thread
            log.exception("a chore ended with an error", extra={"chore": chore.id})
            chore.error = CsbsError()
        finally:
            chore.ended_at = clock()
            chore.state = state  # last: whoever sees it sees the rest
            with self._lock:
                self._threads.pop(chore.id, None)

    def _forget(self) -> None:
        ended = [each.id for each in self._chores.values() if each.state is not ChoreState.RUNNING]
        for chore_id in ended[: max(0, len(self._chores) - _KEPT_MAX)]:
            del self._chores[chore_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoreService:
    """What a caller may ask for about chores of a project."""

    project_id: ProjectId
    chores: Chores
    repositories: RepositoryAccess
    verification: VerifyService
    clock: Clock
    new_id: NewId

    def collect(self) -> Chore:
        """Begins a collection.  Raises `ChoreRuns`; what else stands against it is in the chore."""

        def work(chore: Chore) -> None:
            chore.collected = self.repositories.collect(lambda _: None, stopped=chore.cancel.is_set)

        return self._begin(ChoreKind.COLLECTION, work)

    def verify(self, request: VerifyRequest) -> Chore:
        """Begins a verification.  Raises `ChoreRuns`; what else stands against it is in it."""

        def work(chore: Chore) -> None:
            def show(progress: Progress) -> None:
                chore.progress = progress

            watcher = Watcher(on_progress=show, cancel=chore.cancel)
            chore.verified = self.verification.verify(request, watcher)

        return self._begin(ChoreKind.VERIFICATION, work)

    def get(self, chore_id: str) -> Chore:
        """The chore.  Raises `ChoreNotFound`."""
        return self.chores.get(self.project_id, chore_id)

    def cancel(self, chore_id: str) -> Chore:
        """Asks for its stop, which comes soon.  Raises `ChoreNotFound`."""
        chore = self.get(chore_id)
        chore.cancel.set()
        return chore

    def _begin(self, kind: ChoreKind, work: Callable[[Chore], None]) -> Chore:
        chore = Chore(
            id=self.new_id(), project_id=self.project_id, kind=kind, began_at=self.clock()
        )
        self.chores.begin(chore, work, self.clock)
        return chore
