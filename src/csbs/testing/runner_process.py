"""A process with the runner of a service alone, to be killed.

    python -m csbs.testing.runner_process DATABASE [--hold] [SERVER/TASK ...]

Starts the tasks that are named, and writes a line for each that begins or ends.  With `--hold` a
task whose name begins with `stuck` ends when it is cancelled.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from csbs.domain.clock import new_id
from csbs.domain.ids import BackupId, ProjectId, ServerId, TaskId
from csbs.domain.task import Task, TaskKind, waiting_task
from csbs.testing.values import START, make_backup
from csbs.workflows.bounded_runner import BoundedRunner
from csbs.workflows.dbos_runner import DbosRunner, sqlite_url
from csbs.workflows.runner import Control, Execute, Runner

_TASKS_MAX = 2


def named_task(server: str, name: str) -> Task:
    """A task of that server."""
    task = waiting_task(
        TaskId(name), TaskKind.BACKUP, make_backup(1, {}), at=START, request={"full": True}
    )
    return Task(
        id=task.id,
        project_id=ProjectId("p"),
        kind=task.kind,
        state=task.state,
        server_id=ServerId(server),
        server_name=server,
        backup_id=BackupId("b"),
        created_at=START,
    )


def main() -> None:
    """Runs until its standard input ends."""
    url, *wanted = sys.argv[1:]
    hold = wanted[:1] == ["--hold"]
    if url.startswith("/"):
        url = sqlite_url(Path(url))
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def execute(_: ProjectId, task_id: TaskId, control: Control) -> None:
        say(f"begin {task_id}")
        if task_id.startswith("stuck") and hold:
            control.cancel.wait()
        say(f"end {task_id}")

    def durable(bounded: Execute) -> Runner:
        return DbosRunner(bounded, tasks_max=_TASKS_MAX, database_url=url, new_id=new_id)

    runner = BoundedRunner(execute, durable, handed_max=_TASKS_MAX)
    runner.launch()
    for each in wanted[hold:]:
        server, _, name = each.partition("/")
        runner.start(named_task(server, name))
    say("ready")
    sys.stdin.read()
    say("stopped" if runner.stop(timeout_s=5) else "stopped too late")


if __name__ == "__main__":
    main()
