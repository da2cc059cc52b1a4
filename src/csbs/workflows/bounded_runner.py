"""Hands tasks over to a runner a few at a time: others wait here.

Thousands of tasks may come in one moment, when policies are due.  What a durable runner does for
each (several transactions) would keep back what somebody asks for meanwhile; here a task that waits
costs nothing, and what somebody asked for goes before what policies began.  What waits here is
lost with the process, and found in the catalog, as the port allows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from csbs.domain.ids import ProjectId, ServerId, TaskId
from csbs.domain.task import Task
from csbs.workflows.runner import Control, Execute, Runner


class BoundedRunner:
    """See `Runner`; its inner one has at most `handed_max` tasks, and one of each server."""

    def __init__(
        self, execute: Execute, make_inner: Callable[[Execute], Runner], *, handed_max: int
    ) -> None:
        self._execute = execute
        self._handed_max = handed_max
        self._lock = threading.Lock()
        #: By id: those that the inner runner has.
        self._handed: dict[TaskId, Task] = {}
        self._busy: set[ServerId] = set()
        #: Those that wait, in their order; the first queue goes first.
        self._queues: tuple[deque[Task], deque[Task]] = (deque(), deque())
        self._waiting: set[TaskId] = set()
        self._inner = make_inner(self._carry_out)

    def start(self, task: Task) -> None:
        """See `TaskRunner.start`."""
        with self._lock:
            again = task.id in self._handed
            if not again and task.id not in self._waiting:
                self._queues[bool(task.note)].append(task)
                self._waiting.add(task.id)
        if again:  # the inner one may have failed to take it
            self._inner.start(task)
        else:
            self._hand_over()

    def cancel(self, task: Task) -> None:
        """See `TaskRunner.cancel`; of one that waits here the catalog says enough."""
        self._inner.cancel(task)

    def launch(self) -> None:
        """See `Runner.launch`."""
        self._inner.launch()

    def forget_ended(self) -> None:
        """See `Runner.forget_ended`."""
        self._inner.forget_ended()

    def stop(self, *, timeout_s: float) -> bool:
        """See `Runner.stop`; what waits here is left for the next life."""
        with self._lock:
            for queue in self._queues:
                queue.clear()
            self._waiting.clear()
        return self._inner.stop(timeout_s=timeout_s)

    def _carry_out(self, project_id: ProjectId, task_id: TaskId, control: Control) -> None:
        try:
            self._execute(project_id, task_id, control)
        finally:
            with self._lock:
                ended = self._handed.pop(task_id, None)
                if ended is not None:  # one that a former life had handed over is not known here
                    self._busy.discard(ended.server_id)
            self._hand_over()

    def _hand_over(self) -> None:
        while (task := self._next()) is not None:
            self._inner.start(task)

    def _next(self) -> Task | None:
        with self._lock:
            if len(self._handed) >= self._handed_max:
                return None
            for queue in self._queues:
                task = self._first_free(queue)
                if task is not None:
                    self._waiting.discard(task.id)
                    self._handed[task.id] = task
                    self._busy.add(task.server_id)
                    return task
        return None

    def _first_free(self, queue: deque[Task]) -> Task | None:
        """Takes the first whose server has none; those before it keep their places."""
        for position, task in enumerate(queue):
            if task.server_id not in self._busy:
                del queue[position]
                return task
        return None
