"""A runner of threads: what is under way is lost with the process, and found in the catalog."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from csbs.domain.ids import ServerId, TaskId
from csbs.domain.task import Task
from csbs.workflows.runner import Control, Execute


class ThreadRunner:
    """See `TaskRunner`; its tasks have at most `tasks_max` threads."""

    def __init__(self, execute: Execute, *, tasks_max: int) -> None:
        self._execute = execute
        self._threads = ThreadPoolExecutor(tasks_max, "task")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._controls: dict[TaskId, Control] = {}
        #: By server: tasks in their order; the first of each is under way.
        self._queues: dict[ServerId, deque[Task]] = {}

    def start(self, task: Task) -> None:
        """See `TaskRunner.start`."""
        with self._lock:
            if task.id in self._controls or self._stopping.is_set():
                return
            self._controls[task.id] = Control(stopping=self._stopping)
            queue = self._queues.setdefault(task.server_id, deque())
            queue.append(task)
            if len(queue) == 1:
                self._threads.submit(self._carry_out, task)

    def cancel(self, task: Task) -> None:
        """See `TaskRunner.cancel`."""
        with self._lock:
            control = self._controls.get(task.id)
        if control is not None:
            control.cancel.set()

    @property
    def stopping(self) -> threading.Event:
        """Set by `stop`."""
        return self._stopping

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until nothing waits or runs; whether that was so in time."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._controls, timeout_s)

    def launch(self) -> None:
        """See `Runner.launch`: it works already."""

    def forget_ended(self) -> None:
        """See `Runner.forget_ended`: it keeps nothing."""

    def stop(self, *, timeout_s: float) -> bool:
        """See `Runner.stop`."""
        with self._lock:
            self._stopping.set()
            for control in self._controls.values():
                control.cancel.set()
            ended = self._idle.wait_for(lambda: not self._controls, timeout_s)
        self._threads.shutdown(wait=ended, cancel_futures=True)
        return ended

    def _carry_out(self, task: Task) -> None:
        try:
            self._execute(task.project_id, task.id, self._controls[task.id])
        finally:
            with self._lock:
                self._end(task)

    def _end(self, task: Task) -> None:
        del self._controls[task.id]
        queue = self._queues[task.server_id]
        queue.popleft()
        if self._stopping.is_set():  # those behind it are left for the next life
            for waiting in queue:
                del self._controls[waiting.id]
            queue.clear()
        if queue:
            self._threads.submit(self._carry_out, queue[0])
        else:
            del self._queues[task.server_id]
        self._idle.notify_all()
