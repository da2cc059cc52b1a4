"""Keeps the tasks of all projects going, for as long as a service runs.

At its start it gives the runner every task that a former life left open.  From then on it looks,
once a minute, after tasks that could not be handed over, and after what no task will end: guests
that are owed a thaw, and backups whose end could not be recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from csbs.compute.base import ComputeDriver
from csbs.domain.errors import CsbsError
from csbs.domain.ids import ProjectId, TaskId
from csbs.services.execution import TaskExecutor
from csbs.services.rounds import Rounds, Stopping
from csbs.workflows.runner import Control, Runner

log = logging.getLogger(__name__)

_INTERVAL_S = 60.0
#: The same for the round that looks after tasks, which comes to its end meanwhile.
_KEEPER_WAIT_S = 5.0


class TaskEngine:
    """Starts and stops the runner, and feeds it."""

    def __init__(
        self,
        *,
        make_runner: Callable[[Callable[[ProjectId, TaskId, Control], None]], Runner],
        executor_of: Callable[[ProjectId], TaskExecutor],
        projects: Callable[[], Sequence[ProjectId]],
        driver: ComputeDriver,
        stop_wait_s: float = 30.0,
    ) -> None:
        """`executor_of` and `projects` are asked from `start` on, by any thread."""
        self.runner = make_runner(self._execute)
        self._executor_of = executor_of
        self._projects = projects
        self._driver = driver
        self._stop_wait_s = stop_wait_s
        self._keeper = Rounds("tasks", self._look_after, _INTERVAL_S, stop_wait_s=_KEEPER_WAIT_S)

    def start(self) -> None:
        """Begins to work, also on what a former life left; returns soon."""
        self.runner.launch()
        for project_id in self._projects():
            self._feed(project_id)
        self._keeper.start()

    def stop(self) -> bool:
        """Breaks off what can be broken off; whether all has ended, which is waited for a while."""
        self._keeper.begin_stop()
        ended = self.runner.stop(timeout_s=self._stop_wait_s)
        if not ended:
            log.warning("tasks are still under way; the next start goes on with them")
        return self._keeper.stop() and ended

    def _execute(self, project_id: ProjectId, task_id: TaskId, control: Control) -> None:
        self._executor_of(project_id).execute(task_id, control)

    def _look_after(self, stopping: Stopping) -> None:
        self._pay_thaws()
        for project_id in self._projects():
            if stopping():
                return
            self._feed(project_id)
            self._executor_of(project_id).settle_leftovers()
        self.runner.forget_ended()

    def _feed(self, project_id: ProjectId) -> None:
        """Gives the runner what is open; it knows what it has already."""
        for task in self._executor_of(project_id).open_tasks():
            self.runner.start(task)

    def _pay_thaws(self) -> None:
        try:
            for server in self._driver.list_refs():
                why = self._driver.pay_thaw(server.id)
                if why is not None:
                    log.warning(
                        "a guest may still be frozen", extra={"server": server.name, "why": why}
                    )
        except CsbsError as error:
            log.warning("the host does not answer", extra={"why": str(error)})
