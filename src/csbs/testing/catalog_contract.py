"""What a catalog keeps, on any database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from csbs.catalog import Catalog, Transaction, backups, leases, servers, tasks, token_moves
from csbs.catalog.leases import LeaseKind, LeaseWanted
from csbs.catalog.servers import UnfinishedRestore
from csbs.catalog.tasks import TaskOutcome, TaskProgress
from csbs.domain.backup import Backup, BackupState
from csbs.domain.backup_plan import Token
from csbs.domain.block_set import BlockSet
from csbs.domain.errors import (
    BackupNotFound,
    IllegalTransition,
)
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import BackupId, DiskId, ProjectId, TaskId, TrackingName
from csbs.domain.server import DiskDescription
from csbs.domain.task import Task, TaskKind, TaskState, new_task, waiting_task
from csbs.testing.values import START, make_backup

DISK = DiskDescription(target="vda", source="/a", format="qcow2", size_bytes=10)


def entered(catalog: Catalog, project: ProjectId, number: int) -> Backup:
    """Enters backup `number` of server `s` with its disk `d1`, and returns it."""
    backup = replace(make_backup(number, {"d1": 5}), project_id=project)
    with catalog.transaction() as transaction:
        servers.remember_server(transaction, project, backup.server_id, "web")
        if not servers.known_disks(transaction, project, backup.server_id):
            found = [(DiskId("d1"), Match(DISK, None, FoundBy.NEW))]
            servers.remember_disks(transaction, project, backup.server_id, found)
        backups.add(transaction, backup)
    return backup


PROGRESS = TaskProgress(done_bytes=1, total_bytes=2, bytes_per_s=3, left_s=4)


MOVED = BlockSet(((1, 3), (700, 701)))
NAME = TrackingName("csbs-b2")
TOKEN = Token(name=NAME, backup_id=BackupId("b2"), size_bytes=10)
PLACE = DiskId("d1"), BackupId("b1")


def moved(catalog: Catalog, project: ProjectId) -> Backup:
    """Two backups, of which the newer one's token was moved to the older one."""
    first, second = entered(catalog, project, 1), entered(catalog, project, 2)
    with catalog.transaction() as transaction:
        servers.set_tokens(transaction, project, [(DiskId("d1"), TOKEN)])
        for blocks in (BlockSet(((9, 10),)), MOVED):  # the last word counts
            token_moves.add(transaction, project, PLACE, NAME, blocks)
        backups.remove(transaction, project, second.id)
    return first


def waiting(catalog: Catalog, project: ProjectId) -> Task:
    """Enters a task `t1` that waits, of a backup that is entered too."""
    backup = entered(catalog, project, 1)
    request = {"full": True, "exclude_disks": ["d2"]}
    task = waiting_task(TaskId("t1"), TaskKind.BACKUP, backup, at=START, request=request)
    with catalog.transaction() as transaction:
        tasks.add(transaction, task)
    return task


_THREADS = 8
_TURNS = 80


class CatalogContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    def test_a_backup_comes_back_as_it_was(self, catalog: Catalog, project: ProjectId) -> None:
        backup = entered(catalog, project, 1)

        with catalog.transaction() as transaction:
            assert backups.get(transaction, project, backup.id) == backup

    def test_backups_are_listed_oldest_first(self, catalog: Catalog, project: ProjectId) -> None:
        later, earlier = entered(catalog, project, 2), entered(catalog, project, 1)

        with catalog.transaction() as transaction:
            assert backups.of_project(transaction, project) == [earlier, later]
            assert backups.of_server(transaction, project, later.server_id) == [earlier, later]

    def test_another_project_sees_nothing(self, catalog: Catalog, project: ProjectId) -> None:
        backup = entered(catalog, project, 1)
        other = ProjectId("f" * 32)

        with catalog.transaction() as transaction:
            backups.remove(transaction, other, backup.id)
            assert backups.of_project(transaction, other) == []
            assert servers.known_disks(transaction, other, backup.server_id) == []
            with pytest.raises(BackupNotFound):
                backups.get(transaction, other, backup.id)
            assert backups.get(transaction, project, backup.id) == backup

    def test_an_illegal_state_changes_nothing(self, catalog: Catalog, project: ProjectId) -> None:
        backup = entered(catalog, project, 1)

        with pytest.raises(IllegalTransition), catalog.transaction() as transaction:
            backups.set_state(transaction, project, backup.id, BackupState.PROTECTING)

        with catalog.transaction() as transaction:
            assert backups.get(transaction, project, backup.id).state is BackupState.AVAILABLE

    def test_a_transaction_that_fails_leaves_nothing(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)

        def remove_and_fail(transaction: Transaction) -> None:
            backups.remove(transaction, project, backup.id)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), catalog.transaction() as transaction:
            remove_and_fail(transaction)

        with catalog.transaction() as transaction:
            assert backups.of_project(transaction, project) == [backup]

    def test_a_removed_backup_takes_its_disks_along(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)

        with catalog.transaction() as transaction:
            backups.remove(transaction, project, backup.id)
            backups.add(transaction, backup)  # fails if a disk's part was left behind
            assert backups.get(transaction, project, backup.id) == backup

    def test_a_neighbour_is_charged_anew(self, catalog: Catalog, project: ProjectId) -> None:
        backup = entered(catalog, project, 1)

        with catalog.transaction() as transaction:
            backups.set_storage(transaction, project, [(backup.id, DiskId("d1"), 77)])
            assert backups.get(transaction, project, backup.id).storage_bytes == 77

    def test_a_token_is_the_newest_and_can_go(self, catalog: Catalog, project: ProjectId) -> None:
        backup = entered(catalog, project, 1)
        token = Token(name=TrackingName("csbs-b1"), backup_id=BackupId("b1"), size_bytes=10)

        with catalog.transaction() as transaction:
            servers.set_tokens(transaction, project, [(DiskId("d1"), token)])
            assert servers.tokens(transaction, project, backup.server_id) == {"d1": token}
            [known] = servers.known_disks(transaction, project, backup.server_id)
            assert known.tracking == token.name
            servers.set_tokens(transaction, project, [(DiskId("d1"), None)])
            assert servers.tokens(transaction, project, backup.server_id) == {}

    def test_an_unfinished_restore_is_remembered_until_it_ends(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        server_id = entered(catalog, project, 1).server_id
        restore = UnfinishedRestore(backup_id=BackupId("b1"), autostart=True)

        with catalog.transaction() as transaction:
            assert servers.unfinished_restore(transaction, project, server_id) is None
            servers.begin_restore(transaction, project, server_id, restore)
            assert servers.unfinished_restore(transaction, project, server_id) == restore
            servers.end_restore(transaction, project, server_id)
            assert servers.unfinished_restore(transaction, project, server_id) is None

    def test_a_missing_file_keeps_its_last_known_size(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        server_id = entered(catalog, project, 1).server_id

        with catalog.transaction() as transaction:
            [known] = servers.known_disks(transaction, project, server_id)
            gone = Match(replace(DISK, missing=True, size_bytes=0), known, FoundBy.PATH)
            servers.remember_disks(transaction, project, server_id, [(known.id, gone)])
            [again] = servers.known_disks(transaction, project, server_id)

        assert again.size_bytes == DISK.size_bytes

    def test_a_task_ends_once_and_keeps_its_journal(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)
        task = new_task(TaskId("t1"), TaskKind.BACKUP, backup, at=START)
        late = START + timedelta(seconds=9)

        with catalog.transaction() as transaction:
            tasks.add(transaction, task)
            position = tasks.begin_step(transaction, task.id, "copy", at=START)
            tasks.begin_step(transaction, task.id, "commit", at=START)
            tasks.end_step(transaction, task.id, position, at=late)
            assert tasks.running(transaction, project, backup.server_id) == [task]
            tasks.end(
                transaction, project, task.id, TaskOutcome(state=TaskState.DONE, ended_at=late)
            )
            tasks.end(
                transaction, project, task.id, TaskOutcome(state=TaskState.ERROR, ended_at=late)
            )
            [ended] = tasks.of_project(transaction, project)
            steps = tasks.steps(transaction, project, task.id)

        assert (ended.state, ended.ended_at) == (TaskState.DONE, late)
        assert [(step.name, step.ended_at) for step in steps] == [("copy", late), ("commit", None)]

    def test_a_cancel_reaches_the_runner_with_its_next_report(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)
        task = new_task(TaskId("t1"), TaskKind.BACKUP, backup, at=START)

        def report(transaction: Transaction) -> bool:
            return tasks.report(transaction, project, task.id, PROGRESS)

        with catalog.transaction() as transaction:
            tasks.add(transaction, task)
            assert not report(transaction)
            tasks.request_cancel(transaction, project, task.id)
            assert report(transaction)

    def test_what_is_left_is_known_while_the_task_runs(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)
        task = new_task(TaskId("t1"), TaskKind.BACKUP, backup, at=START)
        ended = TaskOutcome(state=TaskState.DONE, ended_at=START)

        with catalog.transaction() as transaction:
            tasks.add(transaction, task)
            tasks.report(transaction, project, task.id, PROGRESS)
            [running] = tasks.of_project(transaction, project)
            tasks.end(transaction, project, task.id, ended)
            [done] = tasks.of_project(transaction, project)

        assert (running.done_bytes, running.bytes_per_s, running.left_s) == (1, 3, 4)
        assert (done.done_bytes, done.bytes_per_s, done.left_s) == (1, None, None)

    def test_a_move_is_found_for_its_token_and_project_only(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        moved(catalog, project)
        other = TrackingName("csbs-b1")

        with catalog.transaction() as transaction:
            assert token_moves.find(transaction, project, PLACE, NAME) == MOVED
            assert token_moves.find(transaction, project, PLACE, other) is None
            assert token_moves.find(transaction, ProjectId("other"), PLACE, NAME) is None
            server_id = backups.get(transaction, project, BackupId("b1")).server_id
            found = token_moves.of_server(transaction, project, server_id)
            assert found == {DiskId("d1"): frozenset({BackupId("b1")})}

    @pytest.mark.parametrize("ended_by", ["a new token", "its backup"])
    def test_a_move_ends_with_the_token_and_with_the_backup(
        self, catalog: Catalog, project: ProjectId, ended_by: str
    ) -> None:
        first = moved(catalog, project)

        with catalog.transaction() as transaction:
            if ended_by == "a new token":
                servers.set_tokens(transaction, project, [(DiskId("d1"), TOKEN)])
            else:
                backups.remove(transaction, project, first.id)
            assert token_moves.find(transaction, project, PLACE, NAME) is None

    def test_a_waiting_task_begins_once(self, catalog: Catalog, project: ProjectId) -> None:
        task = waiting(catalog, project)

        with catalog.transaction() as transaction:
            assert tasks.open_of_project(transaction, project) == [task]
            assert tasks.running(transaction, project, task.server_id) == []
            assert tasks.begin(transaction, project, task.id, at=START)
            assert not tasks.begin(transaction, project, task.id, at=START)
            [begun] = tasks.open_of_server(transaction, project, task.server_id)

        assert (begun.state, begun.started_at) == (TaskState.RUNNING, START)
        assert begun.request == task.request

    def test_a_task_that_was_to_be_cancelled_passes_no_point_of_return(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        task = waiting(catalog, project)

        with catalog.transaction() as transaction:
            assert tasks.pass_no_return(transaction, project, task.id)
            assert not tasks.get(transaction, project, task.id).cancellable
            tasks.request_cancel(transaction, project, task.id)
            assert not tasks.pass_no_return(transaction, project, task.id)

    def test_tasks_that_failed_are_forgotten_with_their_journals(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        task = waiting(catalog, project)

        with catalog.transaction() as transaction:
            tasks.begin_step(transaction, task.id, "copy", at=START)
            assert tasks.remove_failed(transaction, project) == 0
            failed = TaskOutcome(state=TaskState.ERROR, ended_at=START)
            tasks.end(transaction, project, task.id, failed)
            assert tasks.remove_failed(transaction, ProjectId("f" * 32)) == 0
            assert tasks.remove_failed(transaction, project) == 1
            assert tasks.of_project(transaction, project) == []

    def test_a_lease_has_the_epoch_of_its_time_and_ends_with_its_task(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        task = waiting(catalog, project)
        wanted = LeaseWanted(
            task_id=task.id, kind=LeaseKind.WRITING, manifest_key="k", uses={"b", "a"}
        )

        with catalog.transaction() as transaction:
            first = leases.give(transaction, project, "l1", wanted, at=START)
            assert leases.raise_epoch(transaction, project) == 1
            later = START + timedelta(seconds=1)
            second = leases.give(transaction, project, "l2", wanted, at=later)
            assert leases.of_project(transaction, project) == [first, second]
            done = TaskOutcome(state=TaskState.DONE, ended_at=START)
            tasks.end(transaction, project, task.id, done)
            assert leases.of_project(transaction, project) == []

        assert (first.epoch, second.epoch, first.uses) == (0, 1, ("a", "b"))

    def test_transactions_run_one_after_the_other(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        def count_up(_: int) -> int:
            with catalog.transaction() as transaction:
                return leases.raise_epoch(transaction, project)

        with ThreadPoolExecutor(_THREADS) as pool:
            found = sorted(pool.map(count_up, range(_TURNS)))

        assert found == list(range(1, _TURNS + 1))
