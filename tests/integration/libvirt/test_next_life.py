"""A service is killed while it works on a real server; its next life puts things in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from csbs.app import open_app
from csbs.catalog import servers
from csbs.compute.libvirt.folders import HostFolders
from csbs.config import Settings
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.task import Task, TaskState
from csbs.services.project_app import App
from csbs.services.requests import CreateBackup
from csbs.testing.dying_service import next_life, service_dies
from csbs.testing.libvirt_domains import DomainServer
from csbs.testing.postgres import Postgres
from csbs.workflows.run import Watcher
from tests.integration.libvirt.conftest import DISKS

pytestmark = pytest.mark.host

NOBODY = Watcher(on_progress=lambda _: None, cancel=threading.Event())
KIB = 1024
MIB = 1024 * KIB


class Disks:
    """The server's disks, and what was written to them."""

    def __init__(self, server: DomainServer) -> None:
        self._server = server
        self.content = {disk.target: bytearray(disk.size_bytes) for disk in DISKS}
        for target in self.content:
            self.write(target, offset=0, pattern=1)

    def write(self, target: str, *, offset: int, pattern: int) -> None:
        size = 300 * KIB
        self._server.write(target, offset=offset, size=size, pattern=pattern)
        self.content[target][offset : offset + size] = bytes([pattern]) * size

    def copy(self) -> dict[str, bytes]:
        return {target: bytes(content) for target, content in self.content.items()}


class Catalogued:
    """What csbs says between two lives of the service."""

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def backups(self) -> list[Backup]:
        return self._app.backups.list_all()

    @property
    def tasks(self) -> list[Task]:
        return self._app.tasks.list_all()

    def back_up(self, server: DomainServer) -> Backup:
        return self._app.backups.create(CreateBackup(server=server.id), NOBODY)

    def saved(self, backup: Backup) -> dict[str, bytes]:
        found = {}
        with self._app.repositories.shared("a test") as repository:
            manifest = repository.manifest(backup.manifest_key)
            for disk in backup.disks:
                image = manifest.image(disk.disk_id)
                assert image is not None
                found[disk.target] = repository.reader(image).read(0, image.size_bytes)
        return found

    def require_in_order(self, server: DomainServer, settings: Settings) -> None:
        """No job, no file, no TrackingPoint is left that no backup needs, and none is lost."""
        assert [task for task in self.tasks if task.is_open] == []
        assert not server.has_job()
        folders = HostFolders(run=settings.run_dir, scratch=settings.scratch_dir)
        assert list(folders.leftovers(server.id)) == []
        backups = self._app.backups
        with backups.catalog.transaction() as transaction:
            tokens = servers.tokens(transaction, backups.project_id, server.id)
        assert set(server.checkpoints()) == {token.name for token in tokens.values()}


@contextmanager
def catalogued(settings: Settings) -> Iterator[Catalogued]:
    with open_app(settings) as app:
        yield Catalogued(app)


@pytest.fixture
def disks(offline_server: DomainServer, settings: Settings) -> Disks:
    """Those of a running server that has one backup."""
    offline_server.start()
    disks = Disks(offline_server)
    with catalogued(settings) as now:
        now.back_up(offline_server)
    disks.write("vda", offset=MIB, pattern=2)
    disks.write("vdb", offset=MIB, pattern=3)
    return disks


@pytest.mark.parametrize(
    ("place", "step", "end"),
    [
        ("after", "begin", TaskState.ERROR),
        ("in", "copy", TaskState.ERROR),
        ("after", "end job", TaskState.ERROR),
        ("after", "commit", TaskState.DONE),
        ("before", "retire tracking", TaskState.DONE),
    ],
)
def test_a_backup_is_done_or_a_clear_error(
    offline_server: DomainServer,
    settings: Settings,
    disks: Disks,
    place: str,
    step: str,
    end: TaskState,
) -> None:
    server, content = offline_server, disks.copy()
    assert service_dies(settings, "backup", server.id, place, step)
    disks.write("vda", offset=2 * MIB, pattern=4)
    next_life(settings)

    with catalogued(settings) as now:
        now.require_in_order(server, settings)
        assert server.state() == "running"
        backup, task = now.backups[-1], now.tasks[-1]
        assert (task.state, task.backup_id, len(now.backups)) == (end, backup.id, 2)
        if end is TaskState.DONE:
            assert now.saved(backup) == content
        else:
            assert (backup.state, backup.fail_op) == (BackupState.ERROR, FailedOperation.BACKUP)
            assert "ended in the middle" in backup.fail_reason
        last = now.back_up(server)
        assert [disk.mode for disk in last.disks] == ["incremental", "incremental", "rescan"]
        assert now.saved(last) == disks.copy()


def test_a_stopped_server_can_be_started_again(
    offline_server: DomainServer, settings: Settings, disks: Disks
) -> None:
    server = offline_server
    server.power_off()
    assert service_dies(settings, "backup", server.id, "in", "copy")
    next_life(settings)

    with catalogued(settings) as now:
        now.require_in_order(server, settings)
        server.start()
        last = now.back_up(server)
        assert now.saved(last) == disks.copy()


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("after", "stop"),
        ("after", "mark"),
        ("in", "write"),
        ("after", "unmark"),
        ("after", "start"),
    ],
)
def test_a_restore_is_gone_on_with_and_the_server_runs(
    offline_server: DomainServer, settings: Settings, disks: Disks, place: str, step: str
) -> None:
    server = offline_server
    with catalogued(settings) as now:
        [backup] = now.backups
        content = now.saved(backup)
    assert service_dies(settings, "restore", backup.id, place, step)
    next_life(settings)

    with catalogued(settings) as now:
        now.require_in_order(server, settings)
        assert (now.tasks[-1].state, now.tasks[-1].error_message) == (TaskState.DONE, "")
        assert server.state() == "running"
        server.power_off()
        assert {target: server.content(target) for target in content} == content


def test_tasks_may_be_in_postgres(
    offline_server: DomainServer, settings: Settings, postgres: Postgres
) -> None:
    settings = settings.model_copy(update={"catalog_url": postgres.new_database()})
    server = offline_server
    server.start()
    disks = Disks(server)
    with catalogued(settings) as now:
        first = now.back_up(server)
    content = disks.copy()
    disks.write("vda", offset=MIB, pattern=2)
    assert service_dies(settings, "backup", server.id, "after", "commit")
    next_life(settings)
    assert service_dies(settings, "restore", first.id, "in", "write")
    next_life(settings)
    assert service_dies(settings, "deletion", first.id, "after", "entomb")
    next_life(settings)

    with catalogued(settings) as now:
        now.require_in_order(server, settings)
        assert [task.state for task in now.tasks] == [TaskState.DONE] * 4
        [kept] = now.backups
        assert kept.id != first.id
        assert now.saved(kept) != content
        server.power_off()
        assert {target: server.content(target) for target in content} == content
