"""The durable runner: tasks are workflows of DBOS, on SQLite or PostgreSQL.

A task is one workflow without steps of DBOS: begun again it begins at its start, where
`csbs.services.execution` sees by the catalog that it is not for the first time.  The steps are
those of the task's journal (`csbs.workflows.run`); each of them may happen twice.

The catalog names every open task, and whoever opens a service starts them anew: so what DBOS keeps
may be lost, and a workflow that it recovers of a former life is let go.  Workflows do not pass by
a queue of DBOS, which costs more than all else about a task (docs/decisions/0014).
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from contextvars import Context
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig
from dbos import Serializer as DbosSerializer

from csbs.domain.errors import CatalogFailed
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.task import Task
from csbs.workflows.runner import Control, Execute

log = logging.getLogger(__name__)

_NAME = "csbs"
#: The same for each life, whatever its version: so the next one ends what was left of it.
_VERSION = "1"
_EXECUTOR = "csbs-serve"
#: Beside those of tasks: for workflows that are recovered, and while one records its end.
_MORE_THREADS = 4
_POOL_SIZE = 5
#: How many records of ended workflows are deleted at once.
_ENDED_MAX = 500
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class _Json(DbosSerializer):
    """Two ids are all that is kept: nothing of ours is pickled."""

    def serialize(self, data: Any) -> str:
        """See DBOS."""
        return json.dumps(data, default=str)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805  as DBOS spells it
        """See DBOS."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """See DBOS."""
        return "csbs_json"


class DbosRunner:
    """See `Runner`.  One of them per process, since DBOS is one per process.

    It begins what it is given at once: a `BoundedRunner` before it gives it at most `tasks_max`
    tasks, each of another server.
    """

    def __init__(
        self, execute: Execute, *, tasks_max: int, database_url: str, new_id: Callable[[], str]
    ) -> None:
        """`database_url` is one of SQLAlchemy's, of SQLite (see `sqlite_url`) or PostgreSQL."""
        #: Whose workflows these are; those of another life are not carried out.
        self._life = new_id()
        self._execute = execute
        self._database_url = database_url
        self._tasks_max = tasks_max
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        #: Those that DBOS has, each until its end.
        self._given: set[TaskId] = set()
        self._controls: dict[TaskId, Control] = {}
        self._idle = threading.Condition(self._lock)

    def launch(self) -> None:
        """See `Runner.launch`.  Raises `CatalogFailed`."""
        global _current  # noqa: PLW0603  DBOS calls a function of this module
        assert _current is None, "one runner per process"
        _current = self
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": self._database_url,
            "sys_db_pool_size": _POOL_SIZE,
            "application_version": _VERSION,
            "executor_id": _EXECUTOR,
            "log_level": "WARNING",
            "enable_otlp": False,
            "serializer": _Json(),
            "max_executor_threads": self._tasks_max + _MORE_THREADS,
        }
        try:
            DBOS(config=config)
            DBOS.launch()
        except Exception as error:  # whatever its database raises
            DBOS.destroy()
            _current = None
            raise CatalogFailed(_named(self._database_url), str(error)) from error

    def start(self, task: Task) -> None:
        """See `TaskRunner.start`."""
        with self._lock:
            if task.id in self._given:
                return
            self._given.add(task.id)
        try:
            # A task that ends hands over the next one: that is no child of its workflow.
            Context().run(DBOS.start_workflow, _task, task.project_id, task.id, self._life)
        except Exception as error:  # noqa: BLE001  the task is in the catalog, and is given again
            log.warning("a task is begun later", extra={"task_id": task.id, "why": str(error)})
            with self._lock:
                self._given.discard(task.id)

    def cancel(self, task: Task) -> None:
        """See `TaskRunner.cancel`."""
        with self._lock:
            control = self._controls.get(task.id)
        if control is not None:
            control.cancel.set()

    def forget_ended(self) -> None:
        """See `Runner.forget_ended`."""
        ended = DBOS.list_workflows(
            status=_ENDED, limit=_ENDED_MAX, load_input=False, load_output=False
        )
        if ended:
            DBOS.delete_workflows([each.workflow_id for each in ended])

    def stop(self, *, timeout_s: float) -> bool:
        """See `Runner.stop`."""
        global _current  # noqa: PLW0603  see `launch`
        with self._lock:
            self._stopping.set()
            for control in self._controls.values():
                control.cancel.set()
            ended = self._idle.wait_for(lambda: not self._controls, timeout_s)
        DBOS.destroy()
        _current = None
        return ended

    def carry_out(self, project_id: ProjectId, task_id: TaskId, life: str) -> None:
        """Does one task; none of a former life, which the catalog has given anew."""
        control = Control(stopping=self._stopping)
        with self._lock:
            if life != self._life or self._stopping.is_set():
                return
            self._controls[task_id] = control
        try:
            self._execute(project_id, task_id, control)
        finally:
            with self._lock:
                del self._controls[task_id]
                self._given.discard(task_id)
                self._idle.notify_all()


#: The runner of this process.
_current: DbosRunner | None = None


@DBOS.workflow(name="csbs task")
def _task(project_id: str, task_id: str, life: str) -> None:
    runner = _current
    assert runner is not None, "workflows run between launch and stop"
    runner.carry_out(ProjectId(project_id), TaskId(task_id), life)


def _named(url: str) -> str:
    """How errors name the database: without a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def sqlite_url(path: Path) -> str:
    """The URL of a database of DBOS in this file, which is made with a write-ahead log.

    One that is damaged is put aside: the catalog knows every open task.  Raises `CatalogFailed`.
    """
    try:
        if not _is_sound(path):
            log.error("the file is damaged, and put aside", extra={"path": str(path)})
            for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                if each.exists():
                    each.replace(each.with_name(f"{each.name}.damaged"))
            _is_sound(path)
        path.chmod(0o600)
    except (sqlite3.Error, OSError) as error:
        raise CatalogFailed(str(path), str(error)) from error
    return f"sqlite:///{path}"


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            # Without it each step of DBOS's book-keeping waits for the disk several times.
            connection.execute("PRAGMA journal_mode = WAL")
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        return False
