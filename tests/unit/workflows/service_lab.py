"""All use cases over real parts but the hypervisor: a fake driver, whose disks are real images."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from csbs.agent.backup_disk import CopyOptions
from csbs.agent.restore_disk import RestoreOptions
from csbs.catalog import Catalog, Home, backups, tasks
from csbs.domain.backup import Backup
from csbs.domain.ids import ProjectId, TrackingName
from csbs.domain.task import Progress, Task
from csbs.repository import (
    EVERYTHING,
    ContentIndex,
    Encryption,
    Repository,
    Share,
    repository_lock,
)
from csbs.repository.objectstore import FolderStore
from csbs.services.backups import BackupService
from csbs.services.execution import TaskExecutor
from csbs.services.locks import Locks
from csbs.services.rebuilding import RebuildService
from csbs.services.repositories import RepositoryAccess
from csbs.services.requests import CreateBackup, RestoreRequest
from csbs.services.restores import RestoreDone, RestoreService
from csbs.services.servers import ServerService
from csbs.services.tasks import TaskService
from csbs.services.verification import VerifyDone, VerifyRequest, VerifyService
from csbs.testing.fake_driver import FakeDriver, FakeServer
from csbs.testing.faults import Faults
from csbs.testing.runners import InlineRunner
from csbs.testing.values import START
from csbs.workflows.run import Watcher
from csbs.workflows.runner import Control, TaskRunner
from csbs.workflows.thread_runner import ThreadRunner

MIB = 1024**2


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a kill -9."""


class CrashingClock:
    """Ticks a second a call, and ends the process, so to say, at the n-th one.

    Every step of a workflow asks for the time when it begins and when it has ended, so the calls
    reach both sides of each step.
    """

    def __init__(self) -> None:
        self._now = START
        self.crash_at = 0
        self.crash: BaseException = Crash()

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        if self.crash_at:
            self.crash_at -= 1
            if self.crash_at == 0:
                raise self.crash
        return self._now


class ServiceLab:
    """One server `web` with two disks, and the services that a command line has."""

    def __init__(
        self,
        folder: Path,
        *,
        store_folder: Path | None = None,
        min_free_bytes: int = 0,
        vda_size_bytes: int = 4 * MIB,
        beside: ServiceLab | None = None,
        former: Home | None = None,
    ) -> None:
        """`beside` is another data folder with the same host and store; this one is empty.

        `former` is who its catalog was, where that is known.
        """
        self._make_host(folder, beside, vda_size_bytes)
        self.cancel = threading.Event()
        #: Projects that an engine wanted kept up, each time.
        home = self._make_catalog(folder, beside, former)
        self.home = home
        self.project_id: ProjectId = home.project_id
        self._make_repositories(folder, beside, store_folder, min_free_bytes)
        self.locks = Locks(run_folder=folder / "run", monotonic=lambda: 0.0, sleep=lambda _: None)
        self._make_services(
            InlineRunner(lambda _, task_id, control: self.executor.execute(task_id, control))
        )

    def use_threads(self, tasks_max: int = 2) -> ThreadRunner:
        """Carries tasks out in threads from now on."""
        runner = ThreadRunner(
            lambda _, task_id, control: self.executor.execute(task_id, control),
            tasks_max=tasks_max,
        )
        self._make_services(runner)
        return runner

    def _make_services(self, runner: TaskRunner) -> None:
        locks = self.locks
        self.servers = ServerService(
            catalog=self.catalog,
            project_id=self.project_id,
            driver=self.driver,
            locks=locks,
            stop_timeout_s=1,
        )
        self.backups = BackupService(
            runner=runner,
            catalog=self.catalog,
            project_id=self.project_id,
            driver=self.driver,
            servers=self.servers,
            repositories=self.repositories,
            locks=locks,
            clock=self.clock,
            new_id=_new_id,
            copying=CopyOptions(),
            limit_bytes_per_s=None,
            require_space=lambda: None,
        )
        self.restores = RestoreService(
            runner=runner,
            catalog=self.catalog,
            project_id=self.project_id,
            driver=self.driver,
            backups=self.backups,
            repositories=self.repositories,
            locks=locks,
            clock=self.clock,
            new_id=_new_id,
            writing=RestoreOptions(),
            limit_bytes_per_s=None,
            stop_timeout_s=1,
        )
        self.task_service = TaskService(
            catalog=self.catalog, project_id=self.project_id, clock=self.clock, runner=runner
        )
        self.executor = TaskExecutor(
            catalog=self.catalog,
            project_id=self.project_id,
            driver=self.driver,
            backups=self.backups,
            restores=self.restores,
            repositories=self.repositories,
            locks=self.locks,
            clock=self.clock,
        )
        self.verification = VerifyService(
            catalog=self.catalog,
            project_id=self.project_id,
            repositories=self.repositories,
            clock=self.clock,
        )
        self.rebuilding = RebuildService(
            catalog=self.catalog,
            project_id=self.project_id,
            repositories=self.repositories,
            clock=self.clock,
        )

    def _make_host(self, folder: Path, beside: ServiceLab | None, vda_size_bytes: int) -> None:
        if beside:
            self.clock: CrashingClock = beside.clock
            self.faults: Faults = beside.faults
            self.driver: FakeDriver = beside.driver
            self.server: FakeServer = beside.server
        else:
            self.clock, self.faults = CrashingClock(), Faults()
            self.driver = FakeDriver(folder / "host", new_id=_new_id, faults=self.faults)
            self.server = self.driver.add_server("web", {"vda": vda_size_bytes, "vdb": 2 * MIB})

    def _make_catalog(self, folder: Path, beside: ServiceLab | None, former: Home | None) -> Home:
        self.catalog = Catalog.open(folder / "catalog.sqlite")
        home = self.catalog.home(clock=self.clock, new_id=_new_id, former=former)
        if beside:
            self.catalog.adopt_project(beside.project_id)
            home = self.catalog.home(clock=self.clock, new_id=_new_id)
        return home

    def _make_repositories(
        self,
        folder: Path,
        beside: ServiceLab | None,
        store_folder: Path | None,
        min_free_bytes: int,
    ) -> None:
        self.store_folder: Path = store_folder or folder / "store"
        if beside:
            self.store_folder = beside.store_folder
        store = FolderStore(self.store_folder, min_free=lambda _: min_free_bytes)
        store.make()
        self.store = store
        self.open_repository = partial(_open_repository, store, self.home.catalog_id, self.clock)
        self.repositories = RepositoryAccess(
            lock=repository_lock(folder / "repository.lock", "the test's repository"),
            open_repository=lambda _: self.open_repository(),
            open_store=lambda _: store,
            open_index=lambda _: ContentIndex(folder / "index.sqlite"),
            restorable_keys=self.restorable_keys,
        )

    def restorable_keys(self) -> list[str]:
        with self.catalog.transaction() as transaction:
            return backups.restorable_keys(transaction, self.project_id)

    def close(self) -> None:
        """Lets go of all that is open."""
        self.driver.close()
        self.catalog.close()

    @property
    def watcher(self) -> Watcher:
        return Watcher(on_progress=_ignore, cancel=self.cancel)

    def back_up(self, *, full: bool = False) -> Backup:
        return self.backups.create(CreateBackup(server="web", full=full), self.watcher)

    def restore(
        self,
        backup: Backup,
        *,
        power_on: bool = False,
        compare: bool = False,
        allow_holes: bool = False,
    ) -> RestoreDone:
        request = RestoreRequest(power_on=power_on, compare=compare, allow_holes=allow_holes)
        return self.restores.restore(self.restores.plan(backup.id), self.watcher, request)

    def submit(self, **request: Any) -> Backup:
        return self.backups.submit(CreateBackup(server="web", **request))

    def submit_restore(self, backup: Backup, *, power_on: bool = True) -> Task:
        return self.restores.submit(backup.id, RestoreRequest(power_on=power_on))

    def next_life(self) -> None:
        """The service starts again, and goes on with what it finds."""
        for task in self.executor.open_tasks():
            self.executor.execute(task.id, Control())
        self.executor.settle_leftovers()

    def verify(self, share: Share | None = EVERYTHING) -> VerifyDone:
        return self.verification.verify(VerifyRequest(share=share), self.watcher)

    def delete(self, backup: Backup) -> None:
        self.backups.delete(backup.id, self.watcher)

    def add_many(self, count: int) -> list[str]:
        """Another server, `many`, whose disks hold 1, 2, 3 ... blocks; returns their targets."""
        targets = [f"vd{chr(ord('a') + number)}" for number in range(count)]
        server = self.driver.add_server("many", dict.fromkeys(targets, 2 * MIB))
        for number, target in enumerate(targets, 1):
            server.write(target, offset=0, size=number * 65536, pattern=number)
        server.start()
        return targets

    def write(self, pattern: int) -> None:
        """Writes a part of both disks, as the server would."""
        for target in ("vda", "vdb"):
            offset = 65536 * (pattern % 16)
            self.server.write(target, offset=offset, size=100_000, pattern=pattern)

    def content(self) -> dict[str, bytes]:
        """What is on the disks now."""
        return {target: self.server.content(target) for target in ("vda", "vdb")}

    def saved(self, backup: Backup) -> dict[str, bytes]:
        """What the repository has for the backup."""
        repository = self.open_repository()
        manifest = repository.manifest(backup.manifest_key)
        found = {}
        for disk in backup.disks:
            image = manifest.image(disk.disk_id)
            assert image is not None
            found[disk.target] = repository.reader(image).read(0, image.size_bytes)
        return found

    def listed(self) -> list[Backup]:
        with self.catalog.transaction() as transaction:
            return backups.of_project(transaction, self.project_id)

    def tasks(self) -> list[Task]:
        with self.catalog.transaction() as transaction:
            return tasks.of_project(transaction, self.project_id)

    def tracking(self) -> tuple[TrackingName, ...]:
        return self.driver.tracking(self.server.id).checkpoints


def _open_repository(
    store: FolderStore,
    catalog_id: str,
    clock: CrashingClock,
    *,
    encryption: Encryption | None = None,
) -> Repository:
    return Repository.open(
        store,
        name="the test's repository",
        catalog_id=catalog_id,
        clock=clock,
        new_id=_new_id,
        encryption=encryption,
    )


def _new_id() -> str:
    return str(uuid4())


def _ignore(_progress: Progress) -> None:
    """Nobody looks."""
