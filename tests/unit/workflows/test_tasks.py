"""Tasks: what is refused at once, what waits, what is stopped, and what a failure leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from csbs.catalog import Transaction, backups, leases, servers
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.errors import (
    BackupInUse,
    BackupNotFound,
    DriverFailed,
    InvalidName,
    RestoreUnfinished,
    ServerBusy,
    ServerNotFound,
    ServerWithoutDisks,
    TaskNotFound,
)
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, TaskId
from csbs.domain.server import ServerState
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.domain.task_errors import TaskNotCancellable, TaskNotDeletable
from csbs.services.engine import TaskEngine
from csbs.services.requests import CreateBackup
from csbs.workflows.runner import NoRunner, NoService
from csbs.workflows.thread_runner import ThreadRunner
from tests.unit.workflows.service_lab import Crash, ServiceLab

_TIMEOUT_S = 30


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    made.write(1)
    yield made
    made.close()


class Gate:
    """Holds a call of the driver until it is opened."""

    def __init__(self, lab: ServiceLab, call: str) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

        def before_call(name: str) -> None:
            if name == call:
                self._reached.set()
                assert self._opened.wait(_TIMEOUT_S)

        lab.driver.before_call = before_call

    def wait(self) -> None:
        assert self._reached.wait(_TIMEOUT_S)

    def open(self) -> None:
        self._opened.set()


@contextmanager
def held_at(lab: ServiceLab, call: str) -> Iterator[tuple[ThreadRunner, Gate]]:
    """Tasks run in threads, and stop at this call; behind the body all have ended."""
    runner, gate = lab.use_threads(), Gate(lab, call)
    try:
        yield runner, gate
    finally:
        gate.open()
        require_idle(runner)


def require_idle(runner: ThreadRunner) -> None:
    assert runner.wait_idle(_TIMEOUT_S)


def only(tasks: list[Task], kind: TaskKind) -> Task:
    [found] = [task for task in tasks if task.kind is kind]
    return found


def test_a_submitted_backup_is_protecting_until_it_is_there(lab: ServiceLab) -> None:
    with held_at(lab, "begin_backup") as (_, gate):
        submitted = lab.submit(description="before the upgrade", policy_id=PolicyId("p1"))
        gate.wait()
        [backup], [task] = lab.listed(), lab.tasks()
        assert (backup.state, task.state) == (BackupState.PROTECTING, TaskState.RUNNING)
        assert [disk.target for disk in submitted.disks] == ["vda", "vdb"]
        assert task.progress_percent == 0

    [made], [done] = lab.listed(), lab.tasks()
    assert (made.id, made.state, done.state) == (
        submitted.id,
        BackupState.AVAILABLE,
        TaskState.DONE,
    )
    assert lab.saved(made) == lab.content()
    assert (made.description, made.policy_id) == ("before the upgrade", "p1")
    assert made.checkpoint_id == CheckpointId(made.id)
    assert done.progress_percent == 100


def test_what_can_be_refused_is_refused_at_once_and_leaves_nothing(lab: ServiceLab) -> None:
    def no_more(_: Transaction, backup: Backup) -> None:
        raise BackupInUse(backup.id, "the quota is used up")

    disks = {disk.disk_id for disk in lab.submit().disks}
    before = lab.listed(), lab.tasks()
    with pytest.raises(ServerNotFound):
        lab.backups.submit(CreateBackup(server="nobody"))
    with pytest.raises(InvalidName):
        lab.submit(name="x y")
    with pytest.raises(ServerWithoutDisks):
        lab.submit(exclude_disks=frozenset(disks))
    with pytest.raises(BackupInUse, match="quota"):
        lab.submit(admit=no_more)
    with pytest.raises(BackupNotFound):
        lab.backups.submit_deletion(BackupId("nobody"))

    assert (lab.listed(), lab.tasks()) == before


def test_without_a_service_nothing_can_be_submitted(lab: ServiceLab) -> None:
    lab._make_services(NoRunner())
    with pytest.raises(NoService):
        lab.submit()


def test_disks_can_be_left_out(lab: ServiceLab) -> None:
    vda, vdb = lab.submit().disks
    lab.write(2)
    lab.submit(exclude_disks=frozenset({vda.disk_id}))

    backup = lab.listed()[-1]
    assert [disk.disk_id for disk in backup.disks] == [vdb.disk_id]
    assert lab.saved(backup) == {"vdb": lab.content()["vdb"]}
    lab.write(3)
    lab.submit()
    assert lab.saved(lab.listed()[-1]) == lab.content()


def test_one_operation_per_server(lab: ServiceLab) -> None:
    lab.submit()
    [first] = lab.listed()
    with held_at(lab, "begin_backup") as (_, gate):
        running = lab.submit()
        gate.wait()
        with pytest.raises(ServerBusy, match="backup"):
            lab.submit()
        with pytest.raises(ServerBusy, match="backup"):
            lab.submit_restore(first)
        with pytest.raises(BackupInUse, match="not finished"):
            lab.backups.submit_deletion(running.id)
        behind = lab.backups.submit_deletion(first.id)
        assert lab.backups.submit_deletion(first.id).id == behind.id
        assert lab.task_service.get(behind.id).state is TaskState.WAITING
        assert lab.listed()[0].state is BackupState.DELETING

    assert [backup.id for backup in lab.listed()] == [running.id]
    assert [task.state for task in lab.tasks()] == [TaskState.DONE] * 3


def test_servers_are_backed_up_side_by_side(lab: ServiceLab) -> None:
    lab.add_many(2)
    both = threading.Barrier(2)

    def before_call(name: str) -> None:
        if name == "begin_backup":
            both.wait(_TIMEOUT_S)

    runner = lab.use_threads()
    lab.driver.before_call = before_call
    for server in ("web", "many"):
        lab.backups.submit(CreateBackup(server=server))
    require_idle(runner)

    assert [task.state for task in lab.tasks()] == [TaskState.DONE] * 2


def test_a_failed_backup_says_what_failed_and_why(lab: ServiceLab) -> None:
    lab.driver.unreadable.add("vdb")
    lab.submit()

    [backup], [task] = lab.listed(), lab.tasks()
    assert (backup.state, backup.fail_op) == (BackupState.ERROR, FailedOperation.BACKUP)
    assert (backup.fail_code, task.error_code) == ("DiskUnreadable", "DiskUnreadable")
    assert (task.state, task.error_kind) == (TaskState.ERROR, "unavailable")
    assert "vdb" in backup.fail_reason
    assert backup.fail_reason == task.error_message
    assert lab.tracking() == ()


def test_a_backup_that_cannot_begin_fails_by_itself(lab: ServiceLab) -> None:
    runner, gate = lab.use_threads(), Gate(lab, "clean_up")
    lab.submit()
    gate.wait()
    lab.faults.on("describe", DriverFailed("web", "", "looking", "it broke"))
    gate.open()
    require_idle(runner)

    [backup], [task] = lab.listed(), lab.tasks()
    assert (backup.state, backup.fail_code) == (BackupState.ERROR, "DriverFailed")
    assert task.state is TaskState.ERROR
    lab.backups.submit_deletion(backup.id)
    require_idle(runner)
    assert lab.listed() == []


def test_a_failed_deletion_can_be_repeated(lab: ServiceLab) -> None:
    lab.submit()
    [backup] = lab.listed()
    manifests = lab.store_folder / "manifests"
    manifests.rename(manifests.with_name("away"))
    manifests.write_bytes(b"no folder")
    lab.backups.submit_deletion(backup.id)
    [failed] = lab.listed()
    assert (failed.state, failed.fail_op) == (BackupState.ERROR, FailedOperation.DELETE)
    assert failed.fail_reason == lab.tasks()[-1].error_message != ""

    manifests.unlink()
    manifests.with_name("away").rename(manifests)
    lab.backups.submit_deletion(backup.id)
    assert lab.listed() == []


def test_a_failed_restore_leaves_its_backup_and_the_server_as_it_was(lab: ServiceLab) -> None:
    lab.submit()
    [backup] = lab.listed()
    lab.write(2)
    before = lab.content()
    lab.faults.on("open_for_restore", DriverFailed("web", "vda", "opening", "it is locked"))
    lab.submit_restore(backup)

    [kept], task = lab.listed(), lab.tasks()[-1]
    assert (kept.state, kept.fail_op) == (BackupState.AVAILABLE, FailedOperation.RESTORE)
    assert (task.state, task.error_code) == (TaskState.ERROR, "DriverFailed")
    assert (lab.server.state, lab.content()) == (ServerState.RUNNING, before)
    lab.submit_restore(kept)
    assert lab.listed()[0].fail_op is None
    assert lab.content() == lab.saved(kept)


def test_a_restore_whose_mark_breaks_leaves_the_server_as_it_was(lab: ServiceLab) -> None:
    lab.submit()
    [backup] = lab.listed()
    lab.write(2)
    before = lab.content()
    lab.faults.on("set_autostart", DriverFailed("web", "", "setting autostart", "no rights"))
    lab.submit_restore(backup)

    task = lab.tasks()[-1]
    assert (task.state, task.error_code) == (TaskState.ERROR, "DriverFailed")
    assert task.cancellable, "a next life must not think that it has written"
    assert (lab.server.state, lab.content()) == (ServerState.RUNNING, before)


def test_a_restore_that_breaks_while_it_writes_says_that_the_server_stays_stopped(
    lab: ServiceLab,
) -> None:
    lab.submit()
    [backup] = lab.listed()
    lab.write(2)
    packs = lab.store_folder / "packs"

    def lose_packs(name: str) -> None:
        if name == "set_autostart" and packs.exists():  # the mark is set then
            packs.rename(packs.with_name("away"))

    lab.driver.before_call = lose_packs
    lab.submit_restore(backup)
    task = lab.tasks()[-1]
    assert (task.state, task.error_code) == (TaskState.ERROR, "RestoreLeftUnfinished")
    assert "stays stopped" in task.error_message
    assert lab.server.state is ServerState.STOPPED
    assert lab.listed()[0].state is BackupState.AVAILABLE

    packs.with_name("away").rename(packs)
    lab.driver.before_call = lambda _: None
    lab.submit_restore(backup)
    assert (lab.server.state, lab.content()) == (ServerState.RUNNING, lab.saved(backup))


def test_a_running_backup_is_cancelled_and_disappears(lab: ServiceLab) -> None:
    with held_at(lab, "begin_backup") as (_, gate):
        lab.submit()
        gate.wait()
        task = lab.task_service.cancel(lab.tasks()[0].id)
        assert task.cancel_requested

    assert (lab.listed(), lab.tracking()) == ([], ())
    assert lab.tasks()[0].state is TaskState.CANCELLED


def test_a_waiting_task_is_cancelled_at_once(lab: ServiceLab) -> None:
    lab.submit()
    [first] = lab.listed()
    lab.add_many(1)
    runner = lab.use_threads(tasks_max=1)
    gate = Gate(lab, "begin_backup")
    lab.submit()
    gate.wait()
    lab.backups.submit(CreateBackup(server="many"))
    waiting = lab.tasks()[-1]
    assert lab.task_service.cancel(waiting.id).state is TaskState.CANCELLED
    assert [backup.server_name for backup in lab.listed()] == ["web", "web"]
    gate.open()
    require_idle(runner)

    assert lab.listed()[0].id == first.id
    assert only(lab.tasks()[-1:], TaskKind.BACKUP).state is TaskState.CANCELLED


def test_a_restore_is_cancelled_until_its_first_write(lab: ServiceLab) -> None:
    lab.submit()
    [backup] = lab.listed()
    lab.write(2)
    before = lab.content()
    with held_at(lab, "stop") as (_, gate):
        task = lab.submit_restore(backup)
        gate.wait()
        lab.task_service.cancel(task.id)
    assert lab.tasks()[-1].state is TaskState.CANCELLED
    assert (lab.server.state, lab.content()) == (ServerState.RUNNING, before)
    assert lab.listed()[0].state is BackupState.AVAILABLE

    with held_at(lab, "set_autostart") as (_, gate):  # the mark is set then
        task = lab.submit_restore(backup)
        gate.wait()
        with pytest.raises(TaskNotCancellable, match="begun to write"):
            lab.task_service.cancel(task.id)
        with pytest.raises((RestoreUnfinished, ServerBusy)):
            lab.submit()
    assert lab.tasks()[-1].state is TaskState.DONE
    assert lab.content() == lab.saved(backup)


def test_what_cannot_be_cancelled_or_deleted_is_refused_with_the_reason(lab: ServiceLab) -> None:
    lab.submit()
    [task] = lab.tasks()
    with pytest.raises(TaskNotCancellable, match="has ended"):
        lab.task_service.cancel(task.id)
    with pytest.raises(TaskNotDeletable, match="done"):
        lab.task_service.delete(task.id)
    with pytest.raises(TaskNotFound):
        lab.task_service.delete(TaskId("nobody"))


def test_tasks_that_failed_are_deleted_one_by_one_or_all(lab: ServiceLab) -> None:
    lab.submit()
    lab.driver.unreadable.add("vdb")
    for _ in range(3):
        lab.submit()
    done, first, *_ = lab.tasks()
    lab.task_service.delete(first.id)
    assert len(lab.tasks()) == 3
    assert lab.task_service.delete_failed() == 2
    assert lab.tasks() == [done]


def test_a_stop_breaks_a_backup_off_and_leaves_what_waits(lab: ServiceLab) -> None:
    lab.submit()
    [first] = lab.listed()
    runner, gate = lab.use_threads(), Gate(lab, "begin_backup")
    lab.submit()
    gate.wait()
    waiting = lab.backups.submit_deletion(first.id)
    stopping = threading.Thread(target=lambda: runner.stop(timeout_s=_TIMEOUT_S))
    stopping.start()
    assert runner.stopping.wait(_TIMEOUT_S)
    gate.open()
    stopping.join(_TIMEOUT_S)

    broken_off = lab.listed()[-1]
    assert (broken_off.state, broken_off.fail_code) == (BackupState.ERROR, "ServiceStopped")
    assert lab.task_service.get(waiting.id).state is TaskState.WAITING
    lab.next_life()
    assert lab.task_service.get(waiting.id).state is TaskState.DONE


def test_leases_are_held_while_a_task_works(lab: ServiceLab) -> None:
    def held() -> list[leases.Lease]:
        with lab.catalog.transaction() as transaction:
            return leases.of_project(transaction, lab.project_id)

    lab.submit()
    [first] = lab.listed()
    with held_at(lab, "begin_backup") as (_, gate):
        second = lab.submit()
        gate.wait()
        [lease] = held()
        assert (lease.kind, lease.uses) == (leases.LeaseKind.WRITING, (first.manifest_key,))
        assert lease.manifest_key.endswith(second.id)

    assert held() == []


@pytest.fixture
def engine(lab: ServiceLab) -> Iterator[Callable[[], TaskEngine]]:
    made: list[TaskEngine] = []

    def make() -> TaskEngine:
        engine = TaskEngine(
            make_runner=lambda execute: ThreadRunner(execute, tasks_max=2),
            executor_of=lambda _: lab.executor,
            projects=lambda: [lab.project_id],
            driver=lab.driver,
        )
        made.append(engine)
        return engine

    yield make
    for each in made:
        each.stop()


def test_a_start_pays_thaws_and_settles_what_no_task_ends(
    lab: ServiceLab, engine: Callable[[], TaskEngine]
) -> None:
    lab.submit()
    [backup] = lab.listed()
    with lab.catalog.transaction() as transaction:
        backups.set_state(transaction, lab.project_id, backup.id, BackupState.DELETING)
    lab.driver.calls.clear()
    settled = threading.Event()
    lab.driver.before_call = lambda name: settled.set() if name == "clean_up" else None
    running = engine()
    running.start()
    assert settled.wait(_TIMEOUT_S)
    running.stop()

    assert "pay_thaw" in lab.driver.calls
    assert lab.listed() == []


def test_what_a_local_command_left_is_settled_by_a_service(lab: ServiceLab) -> None:
    for crash_at in (6, 9):
        lab.clock.crash_at = crash_at
        with pytest.raises(Crash):
            lab.back_up()
    lab.next_life()

    assert [task for task in lab.tasks() if task.is_open] == []
    assert {backup.state for backup in lab.listed()} <= {BackupState.AVAILABLE, BackupState.ERROR}


def test_wherever_a_local_command_dies_its_server_is_busy_no_more_for_a_service(
    lab: ServiceLab,
) -> None:
    """Behind the commit too, where the backup itself needs nothing."""
    for crash_at in count(1):
        lab.clock.crash_at = crash_at
        try:
            lab.back_up()
        except Crash:
            lab.next_life()
        else:
            break
        assert [task.state for task in lab.tasks() if task.is_open] == []

    assert crash_at > 10
    lab.clock.crash_at = 0
    lab.submit()


def test_what_an_interrupted_restore_holds_is_not_let_go(lab: ServiceLab) -> None:
    lab.submit()
    [backup] = lab.listed()
    restore = servers.UnfinishedRestore(backup_id=backup.id, autostart=False)
    with lab.catalog.transaction() as transaction:
        backups.set_state(transaction, lab.project_id, backup.id, BackupState.DELETING)
        servers.begin_restore(transaction, lab.project_id, lab.server.id, restore)
    lab.driver.calls.clear()
    lab.executor.settle_leftovers()

    assert "clean_up" not in lab.driver.calls
    assert lab.listed()[0].state is BackupState.DELETING


def test_an_engine_survives_a_host_that_does_not_answer(
    lab: ServiceLab, engine: Callable[[], TaskEngine]
) -> None:
    lab.faults.on("list_servers", DriverFailed("web", "", "listing", "no answer"))
    running = engine()
    running.start()
    running.stop()

    lab.faults.assert_all_fired()
