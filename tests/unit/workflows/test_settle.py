"""What a dead csbs left is settled by what the repository says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from csbs.catalog import Catalog, backups, servers, tasks
from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.consistency import Consistency
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import BackupId, DiskId, ProjectId, TaskId
from csbs.domain.lock_errors import LockLost
from csbs.domain.server import DiskDescription, ServerDescription, ServerState
from csbs.domain.task import TaskKind, TaskState, new_task
from csbs.repository import ContentIndex, Repository
from csbs.repository.objectstore import MemoryStore
from csbs.testing.values import START, make_backup
from csbs.workflows.facts import Making, facts_of
from csbs.workflows.records import Records
from csbs.workflows.settle import settle

BLOCK = 65536
DISK = DiskDescription(target="d1", source="/a", format="qcow2", size_bytes=BLOCK)


class Left:
    """A backup that was being made when its csbs died."""

    def __init__(self, folder: Path) -> None:
        self.catalog = Catalog.open(folder / "catalog.sqlite")
        home = self.catalog.home(clock=lambda: START, new_id=lambda: str(uuid4()))
        self.project: ProjectId = home.project_id
        self.store = MemoryStore()
        self.repository = Repository.open(
            self.store,
            name="memory",
            catalog_id=home.catalog_id,
            clock=lambda: START,
            new_id=lambda: str(uuid4()),
        )
        self.index = ContentIndex(folder / "index.sqlite")
        self.records = Records(
            catalog=self.catalog, repository=self.repository, clock=lambda: START
        )
        made = make_backup(1, {"d1": 0})
        backup_id = BackupId(str(uuid4()))
        self.backup: Backup = replace(
            made,
            id=backup_id,
            project_id=self.project,
            state=BackupState.PROTECTING,
            manifest_key=self.repository.manifest_key(backup_id, START),
            disks=(replace(made.disks[0], mode=Mode.FULL, read_bytes=BLOCK),),
        )
        with self.catalog.transaction() as transaction:
            server_id = made.server_id
            servers.remember_server(transaction, self.project, server_id, "web")
            found = [(DiskId("d1"), Match(DISK, None, FoundBy.NEW))]
            servers.remember_disks(transaction, self.project, server_id, found)
            backups.add(transaction, self.backup)
            task = new_task(TaskId("t1"), TaskKind.BACKUP, self.backup, at=START)
            tasks.add(transaction, task)

    def commit(self) -> None:
        writer = self.repository.begin(self.backup.id, started_at=START, index=self.index)
        image = writer.image("d1", BLOCK, parent=None)
        image.write(0, image.encoder().encode(0, b"\x01" * BLOCK))
        image.finish()
        server = ServerDescription(
            id=self.backup.server_id,
            name="web",
            state=ServerState.RUNNING,
            disks=(DISK,),
            autostart=False,
            definition_xml="<domain/>",
        )
        opened = replace(self.backup, consistency_reached=Consistency.CRASH)
        making = Making(tracked=frozenset({"d1"}), parents={"d1": None}, finished_at=START)
        writer.commit(created_at=START, facts=facts_of(opened, server, making))

    def settle(self) -> None:
        settle(self.records, self.project, self.backup.server_id)

    def backups(self) -> list[Backup]:
        with self.catalog.transaction() as transaction:
            return backups.of_project(transaction, self.project)

    def task_state(self) -> TaskState:
        with self.catalog.transaction() as transaction:
            return tasks.of_project(transaction, self.project)[0].state


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    made = Left(tmp_path)
    yield made
    made.index.close()
    made.catalog.close()


def test_a_backup_that_was_committed_is_available(left: Left) -> None:
    left.commit()
    left.settle()

    [backup] = left.backups()
    with left.catalog.transaction() as transaction:
        tokens = servers.tokens(transaction, left.project, backup.server_id)
    assert (backup.state, left.task_state()) == (BackupState.AVAILABLE, TaskState.DONE)
    assert (backup.changed_bytes, backup.read_bytes) == (BLOCK, BLOCK)
    assert tokens[DiskId("d1")].backup_id == backup.id


def test_a_backup_whose_packs_a_collection_removed_is_an_error_and_gone(left: Left) -> None:
    left.commit()
    for pack in list(left.store.list("packs/")):
        left.store.delete(pack.key)
    left.settle()
    left.settle()

    [backup] = left.backups()
    assert (backup.state, backup.fail_code) == (BackupState.ERROR, "BackupCollected")
    assert list(left.repository.manifests()) == []


def test_nothing_is_committed_without_the_lock(left: Left) -> None:
    def still_held() -> None:
        raise LockLost("the backup", "a test")

    writer = left.repository.begin(left.backup.id, started_at=START, index=left.index)
    left.repository.rely_on(still_held)
    with pytest.raises(LockLost):
        writer.commit(created_at=START, facts={})

    assert list(left.repository.manifests()) == []


def test_a_backup_that_was_not_committed_is_an_error_and_fenced(left: Left) -> None:
    left.settle()

    [backup] = left.backups()
    assert (backup.state, left.task_state()) == (BackupState.ERROR, TaskState.ERROR)
    assert "ended in the middle" in backup.fail_reason
    assert list(left.repository.manifests()) == []


def test_a_backup_that_was_to_be_cancelled_disappears(left: Left) -> None:
    with left.catalog.transaction() as transaction:
        tasks.request_cancel(transaction, left.project, TaskId("t1"))
    left.settle()

    assert (left.backups(), left.task_state()) == ([], TaskState.CANCELLED)


def test_a_deletion_that_was_begun_is_finished(left: Left) -> None:
    left.commit()
    left.settle()
    with left.catalog.transaction() as transaction:
        backups.set_state(transaction, left.project, left.backup.id, BackupState.DELETING)
    left.settle()

    assert left.backups() == []
    assert list(left.repository.manifests()) == []


def test_settling_twice_changes_nothing_more(left: Left) -> None:
    left.commit()
    left.settle()
    before = left.backups()
    left.settle()

    assert left.backups() == before
