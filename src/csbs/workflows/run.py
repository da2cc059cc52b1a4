"""What a workflow runs in: the port `Run`, and the local runner.

A workflow is a plain function over `Run`, made of named steps.  The local runner keeps a journal
of them in the catalog; a process that dies leaves its task `running`, and the next command for
that server settles it (`csbs.workflows.settle`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import ParamSpec, Protocol, TypeVar

from csbs.catalog import Catalog, Transaction, tasks
from csbs.catalog.tasks import TaskOutcome, TaskProgress
from csbs.domain.clock import Clock, Monotonic, monotonic
from csbs.domain.errors import CatalogFailed, CsbsError, OperationCancelled
from csbs.domain.pace import Pace
from csbs.domain.task import Progress, Task, TaskState, Watcher

__all__ = ["LocalRun", "Run", "Watcher", "check_cancelled"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Cancel is a column of the task that its runner reads as often as this.
_POLL_INTERVAL_S = 1.0
_ERROR_SIZE_MAX = 2000
#: What columns hold.
_DOING_SIZE_MAX = _OBJECT_SIZE_MAX = 255


class Run(Protocol):
    """One execution of a workflow."""

    def step(self, name: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does one named, idempotent step, and returns what it returned."""

    def progress(self, progress: Progress) -> None:
        """Tells how far the execution is; any thread may, one at a time."""

    def cancelled(self) -> bool:
        """Whether somebody asked for a stop; cheap, may be asked often."""


def check_cancelled(run: Run, operation: str) -> None:
    """Raises `OperationCancelled` if somebody asked for a stop."""
    if run.cancelled():
        raise OperationCancelled(operation)


class LocalRun:
    """Runs in this process; journal, progress and cancel are in the catalog's task."""

    def __init__(
        self,
        task: Task,
        *,
        catalog: Catalog,
        clock: Clock,
        watcher: Watcher,
        monotonic: Monotonic = monotonic,
    ) -> None:
        self._task = task
        self._catalog = catalog
        self._clock = clock
        self._watcher = watcher
        self._monotonic = monotonic
        self._latest = Progress("", 0, 0)
        self._pace = Pace()
        #: Guards the two above.
        self._lock = threading.Lock()
        #: The step that ended last, and when.
        self._ended_step: tuple[int, datetime] | None = None
        self._ended = threading.Event()

    def step(self, name: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Run.step`."""
        with self._catalog.transaction() as transaction:
            self._end_step(transaction)
            position = tasks.begin_step(transaction, self._task.id, name, at=self._clock())
        result = action(*args, **kwargs)
        # Recorded with what comes next: nobody decides by it, and each transaction waits for disks.
        self._ended_step = position, self._clock()
        return result

    def progress(self, progress: Progress) -> None:
        """See `Run.progress`."""
        with self._lock:
            self._latest = progress
            self._pace.report(self._monotonic(), progress.done_bytes, progress.total_bytes)
        self._watcher.on_progress(progress)

    def cancelled(self) -> bool:
        """See `Run.cancelled`."""
        return self._watcher.cancel.is_set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keeps the task's row in step with the body, and records how it ended."""
        thread = threading.Thread(target=self._poll, name="task-poll", daemon=True)
        with self.recorded():
            thread.start()
            try:
                yield
            finally:
                self._ended.set()
                thread.join()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Records how the body ended."""
        try:
            yield
        except Exception as error:
            self._end(_outcome(error, self._clock))
            raise
        self._end(TaskOutcome(state=TaskState.DONE, ended_at=self._clock()))

    def _end(self, outcome: TaskOutcome) -> None:
        task = self._task
        with self._catalog.transaction() as transaction:
            self._end_step(transaction)
            tasks.end(transaction, task.project_id, task.id, outcome, self._progress())

    def _end_step(self, transaction: Transaction) -> None:
        if self._ended_step is not None:
            position, at = self._ended_step
            tasks.end_step(transaction, self._task.id, position, at=at)

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_INTERVAL_S):
            self._report()

    def _progress(self) -> TaskProgress:
        with self._lock:
            latest, estimate = self._latest, self._pace.estimate(self._monotonic())
        return TaskProgress(
            done_bytes=latest.done_bytes,
            total_bytes=latest.total_bytes,
            doing=latest.doing[:_DOING_SIZE_MAX],
            bytes_per_s=None if estimate is None else estimate.bytes_per_s,
            left_s=None if estimate is None else int(estimate.left_s),
        )

    def _report(self) -> None:
        task, progress = self._task, self._progress()
        try:
            with self._catalog.transaction() as transaction:
                wanted = tasks.report(transaction, task.project_id, task.id, progress)
        except CatalogFailed:  # the next report tries again; the task itself will meet it too
            log.warning("progress was not recorded", extra={"task_id": self._task.id})
            return
        if wanted:
            self._watcher.cancel.set()


def _outcome(error: Exception, clock: Clock) -> TaskOutcome:
    cancelled = isinstance(error, OperationCancelled)
    about = error.object_name if isinstance(error, CsbsError) else ""
    return TaskOutcome(
        state=TaskState.CANCELLED if cancelled else TaskState.ERROR,
        ended_at=clock(),
        error_kind=error.kind if isinstance(error, CsbsError) else CsbsError.kind,
        error_code=type(error).__name__,
        error_object=about[:_OBJECT_SIZE_MAX],
        error_message=(str(error) or type(error).__name__)[:_ERROR_SIZE_MAX],
    )
