"""`csbs task`: stopping and forgetting tasks on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csbs.app import open_app
from csbs.catalog import backups, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.config import Settings
from csbs.domain.backup import BackupState
from csbs.domain.ids import BackupId, TaskId
from csbs.domain.task import TaskKind, TaskState, waiting_task
from csbs.testing.catalog_contract import entered
from csbs.testing.values import START
from tests.integration.libvirt.shell import Shell

WAITING, FAILED, ALSO_FAILED = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")


@pytest.fixture
def csbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """With a task that waits, and two that failed."""
    with open_app(Settings(data_dir=tmp_path)) as app:
        catalog, project = app.tasks.catalog, app.tasks.project_id
        backup = entered(catalog, project, 1)
        with catalog.transaction() as transaction:
            making = replace(backup, id=BackupId("b2"), state=BackupState.PROTECTING, disks=())
            backups.add(transaction, making)
            for task_id in (WAITING, FAILED, ALSO_FAILED):
                task = waiting_task(
                    TaskId(task_id), TaskKind.BACKUP, making, at=START, request={"full": True}
                )
                tasks.add(transaction, task)
            for task_id in (FAILED, ALSO_FAILED):
                outcome = TaskOutcome(
                    state=TaskState.ERROR,
                    ended_at=START,
                    error_kind="unavailable",
                    error_code="StoreFull",
                    error_message="it is full",
                )
                tasks.end(transaction, project, TaskId(task_id), outcome)
    return Shell(tmp_path, capsys)


def test_a_task_that_waits_is_cancelled_with_its_backup(csbs: Shell) -> None:
    cancelled = csbs.ok("task", "cancel", WAITING[:8])

    assert (cancelled["state"], cancelled["cancellable"]) == ("cancelled", False)
    assert [each["id"] for each in csbs.ok("backup", "list")["backups"]] == ["b1"]
    again = csbs("task", "cancel", WAITING[:8], "--json")
    assert (again.code, again.error["kind"]) == (5, "refused")


def test_tasks_that_failed_are_deleted(csbs: Shell) -> None:
    shown = csbs.ok("task", "show", FAILED[:8])
    assert shown["error"] == {
        "kind": "unavailable",
        "code": "StoreFull",
        "object": "",
        "message": "it is full",
    }
    assert csbs("task", "delete", WAITING[:8]).code == 5
    assert csbs.ok("task", "delete", FAILED[:8]) == {"deleted": 1}
    assert csbs.ok("task", "delete", "--failed") == {"deleted": 1}
    assert [each["id"] for each in csbs.ok("task", "list")["tasks"]] == [WAITING]


def test_it_must_be_said_which(csbs: Shell) -> None:
    assert csbs("task", "delete").code == 2
    assert csbs("task", "delete", FAILED[:8], "--failed").code == 2
