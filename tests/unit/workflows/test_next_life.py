"""Submitted tasks: a crash at any step, and what the next life of the service makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.catalog import servers
from csbs.domain.backup import BackupState, FailedOperation, Mode
from csbs.domain.errors import CatalogFailed
from csbs.domain.server import ServerState
from csbs.domain.task import TaskState
from tests.unit.workflows.service_lab import Crash, ServiceLab

#: No task asks for the time more often than this.
CLOCK_CALLS_MAX = 40


def crashes(
    folder: Path, prepare: Callable[[ServiceLab], object]
) -> Iterator[tuple[ServiceLab, int]]:
    """A lab for each place where the process may die, up to the first that none reaches."""
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab = ServiceLab(folder / str(crash_at))
        lab.server.start()
        lab.write(1)
        prepare(lab)
        yield lab, crash_at
        lab.close()
    pytest.fail(f"a task asks for the time more than {CLOCK_CALLS_MAX} times")


def dies(lab: ServiceLab, crash_at: int, what: Callable[[], object]) -> bool:
    lab.clock.crash_at = crash_at
    try:
        with contextlib.suppress(Crash):
            what()
            return False
        return True
    finally:
        lab.clock.crash_at = 0


def require_ended(lab: ServiceLab) -> None:
    assert [task for task in lab.tasks() if task.is_open] == []
    states = {backup.state for backup in lab.listed()}
    assert states <= {BackupState.AVAILABLE, BackupState.ERROR}
    assert lab.server.state is ServerState.RUNNING
    with lab.catalog.transaction() as transaction:
        tokens = servers.tokens(transaction, lab.project_id, lab.server.id)
    assert set(lab.tracking()) == {token.name for token in tokens.values()}


def test_a_backup_that_dies_anywhere_is_done_or_a_clear_error(tmp_path: Path) -> None:
    ends = set()
    for lab, crash_at in crashes(tmp_path, lambda lab: lab.submit()):
        [first] = lab.listed()
        content_1 = lab.content()
        lab.write(2)
        content_2 = lab.content()
        if not dies(lab, crash_at, lab.submit):
            break
        lab.next_life()

        require_ended(lab)
        assert len(lab.tasks()) == len(lab.listed())
        for backup, task in zip(lab.listed()[1:], lab.tasks()[1:], strict=True):
            ends.add(task.state)
            assert task.backup_id == backup.id
            if task.state is TaskState.DONE:
                assert lab.saved(backup) == content_2
            else:
                assert "ended in the middle of the backup" in task.error_message
                assert (backup.fail_op, backup.fail_code) == (FailedOperation.BACKUP, "ProcessDied")
        lab.write(3)
        lab.submit()
        last = lab.listed()[-1]
        assert last.state is BackupState.AVAILABLE
        assert {disk.mode for disk in last.disks} == {Mode.INCREMENTAL}
        assert (lab.saved(first), lab.saved(last)) == (content_1, lab.content())
    assert ends == {TaskState.DONE, TaskState.ERROR}


def test_a_restore_that_dies_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    def prepare(lab: ServiceLab) -> None:
        lab.submit()
        lab.write(2)

    lives = 0
    for lab, crash_at in crashes(tmp_path, prepare):
        [backup] = lab.listed()
        wanted = lab.saved(backup)
        if not dies(lab, crash_at, lambda: lab.submit_restore(backup)):  # noqa: B023  called at once
            break
        lab.next_life()

        require_ended(lab)
        for task in lab.tasks()[1:]:
            lives += 1
            assert (task.state, task.error_message) == (TaskState.DONE, "")
            assert lab.content() == wanted
    assert lives > 5


def test_a_restore_that_is_cancelled_by_the_next_life_starts_the_server_again(
    tmp_path: Path,
) -> None:
    for lab, crash_at in crashes(tmp_path, lambda lab: lab.submit()):
        [backup] = lab.listed()
        lab.write(2)
        before = lab.content()
        if not dies(lab, crash_at, lambda: lab.submit_restore(backup)):  # noqa: B023  called at once
            break
        marked = lab.servers.half_restored()
        for task in lab.executor.open_tasks():
            with contextlib.suppress(Exception):  # after the first write it is refused
                lab.task_service.cancel(task.id)
        lab.next_life()

        require_ended(lab)
        for task in lab.tasks()[1:]:
            if marked or task.state is TaskState.DONE:
                assert (task.state, lab.content()) == (TaskState.DONE, lab.saved(backup))
            else:
                assert (task.state, lab.content()) == (TaskState.CANCELLED, before)


def test_a_deletion_that_dies_anywhere_is_finished(tmp_path: Path) -> None:
    for lab, crash_at in crashes(tmp_path, lambda lab: lab.submit()):
        lab.write(2)
        lab.submit()
        first, second = lab.listed()
        if not dies(lab, crash_at, lambda: lab.backups.submit_deletion(first.id)):  # noqa: B023  called at once
            break
        begun = len(lab.tasks()) == 3
        lab.next_life()

        require_ended(lab)
        if begun:
            assert [backup.id for backup in lab.listed()] == [second.id]
            assert lab.tasks()[-1].state is TaskState.DONE
        assert lab.saved(second) == lab.content()


#: Calls of the clock: within the copying, and between the commit and its record.
IN_COPY, COMMITTED = 12, 17


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    """A server with a backup, which has written since."""
    made = ServiceLab(tmp_path)
    made.server.start()
    made.write(1)
    made.submit()
    made.write(2)
    yield made
    made.close()


@contextlib.contextmanager
def store_away(lab: ServiceLab) -> Iterator[None]:
    away = lab.store_folder.with_name("away")
    lab.store_folder.rename(away)
    try:
        yield
    finally:
        away.rename(lab.store_folder)


@pytest.mark.parametrize(
    ("crash_at", "state"), [(IN_COPY, BackupState.ERROR), (COMMITTED, BackupState.AVAILABLE)]
)
def test_a_tracking_point_stays_until_somebody_can_tell_whether_its_backup_was_committed(
    lab: ServiceLab, crash_at: int, state: BackupState
) -> None:
    assert dies(lab, crash_at, lab.submit)
    with store_away(lab):
        lab.next_life()
        assert [task for task in lab.tasks() if task.is_open] == []
    lab.next_life()

    require_ended(lab)
    assert lab.listed()[-1].state is state
    lab.submit()
    assert {disk.mode for disk in lab.listed()[-1].disks} == {Mode.INCREMENTAL}


@pytest.mark.parametrize("crash_at", [6, 9, 14, 16])
def test_a_restore_goes_on_when_the_catalog_answers_again(lab: ServiceLab, crash_at: int) -> None:
    [backup] = lab.listed()
    lab.clock.crash = CatalogFailed("the catalog", "the connection was cut")
    lab.clock.crash_at = crash_at
    lab.submit_restore(backup)

    assert lab.clock.crash_at == 0
    require_ended(lab)
    assert [task.state for task in lab.tasks()] == [TaskState.DONE] * 2
    assert lab.content() == lab.saved(backup)


@pytest.mark.parametrize("crash_at", [6, 8])
def test_a_deletion_goes_on_when_the_catalog_answers_again(lab: ServiceLab, crash_at: int) -> None:
    lab.submit()
    first, second = lab.listed()
    lab.clock.crash = CatalogFailed("the catalog", "the connection was cut")
    lab.clock.crash_at = crash_at
    lab.backups.submit_deletion(second.id)

    assert lab.clock.crash_at == 0
    require_ended(lab)
    assert [task.state for task in lab.tasks()] == [TaskState.DONE] * 3
    lab.submit()
    assert {disk.mode for disk in lab.listed()[-1].disks} == {Mode.INCREMENTAL}
    assert lab.listed()[0].id == first.id


def test_a_server_is_let_go_although_the_store_does_not_answer(lab: ServiceLab) -> None:
    assert dies(lab, IN_COPY, lab.submit)
    job = lab.server.live_jobs[-1]
    with store_away(lab):
        lab.next_life()

        assert job.ended
