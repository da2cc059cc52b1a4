"""A store that does not answer: the server goes on; the backup waits, fails, or is cancelled."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from csbs.app import open_app
from csbs.blockio.processes import run_tool
from csbs.config import load_settings
from csbs.domain.backup import Backup
from csbs.domain.clock import Monotonic, monotonic, new_id, sleep, utc_now
from csbs.domain.errors import OperationCancelled
from csbs.domain.task import Progress
from csbs.repository import Repository
from csbs.repository.errors import StoreTimeout
from csbs.repository.objectstore import FolderStore, TimeLimit, TimeLimitedStore
from csbs.services.requests import CreateBackup
from csbs.testing.driver_contract import MIB
from csbs.testing.faults import BlockingStore
from csbs.testing.libvirt_domains import DomainDisk, DomainServer, domain_server
from csbs.workflows.run import Watcher
from tests.integration.libvirt.conftest import Host
from tests.integration.libvirt.shell import Shell

pytestmark = pytest.mark.host

#: More than may be on its way to a store that takes nothing: the copy has to wait.
DISK = DomainDisk(target="vda", size_bytes=192 * MIB)
_WAIT_S = 60.0


@pytest.fixture
def server(host: Host) -> Iterator[DomainServer]:
    with domain_server((DISK,), new_id=new_id, sleep=sleep) as made:
        yield made


def fill(server: DomainServer, seed: int) -> None:
    """Fills the disk of the stopped server with bytes that cannot be compressed."""
    noise = server.folder / "noise"
    noise.write_bytes(random.Random(seed).randbytes(DISK.size_bytes))
    run_tool(
        [
            *("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2"),
            str(noise),
            str(server.path("vda")),
        ],
        doing="filling a disk",
        timeout_s=_WAIT_S,
    )
    noise.unlink()


class Clock:
    """Stands still until `run`; then ten seconds pass with each look at it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._step_s = 0.0

    def run(self) -> None:
        self._step_s = 10.0

    def __call__(self) -> float:
        self._now_s += self._step_s
        return self._now_s


@dataclass(frozen=True)
class Waiting:
    """A backup that waits for its store."""

    result: Future[Backup]
    cancel: threading.Event
    blocking: BlockingStore


@contextmanager
def backing_up(
    csbs: Shell, server: DomainServer, method: str, clock: Monotonic
) -> Iterator[Waiting]:
    """A backup whose store hangs in `method` once its disk is being read."""
    cancel = threading.Event()
    with open_app(load_settings(csbs.data_dir)) as app, ThreadPoolExecutor(1) as pool:
        home = app.backups.catalog.home(clock=utc_now, new_id=new_id)
        folder = FolderStore(csbs.data_dir / "store" / home.project_id)
        prefix = "packs/" if method == "put" else ""
        blocking = BlockingStore(folder, method, key_prefix=prefix)

        def open_repository(cancelled: Callable[[], bool]) -> Repository:
            limit = TimeLimit(timeout_s=100, cancelled=cancelled, monotonic=clock)
            return Repository.open(
                TimeLimitedStore(blocking, limit, name="nfs"),
                name="nfs",
                catalog_id=home.catalog_id,
                clock=utc_now,
                new_id=new_id,
            )

        def on_progress(progress: Progress) -> None:
            del progress
            if not blocking.reached.is_set():
                blocking.hold()

        repositories = replace(app.repositories, open_repository=open_repository)
        backups = replace(app.backups, repositories=repositories)
        request = CreateBackup(server=server.name)
        result = pool.submit(
            backups.create, request, Watcher(on_progress=on_progress, cancel=cancel)
        )
        try:
            assert blocking.reached.wait(_WAIT_S)
            yield Waiting(result, cancel, blocking)
        finally:
            blocking.release()


def assert_nothing_is_left(host: Host, server: DomainServer, first: str) -> None:
    """The server runs; of the job nothing is there any more."""
    assert server.state() == "running"
    assert not server.has_job()
    assert server.checkpoints() == [f"csbs-{first}"]
    for folder in (host.run_folder, host.scratch_folder):
        assert list((folder / server.id).iterdir()) == []


def assert_the_next_is_right(csbs: Shell, server: DomainServer) -> None:
    """The next backup is incremental, and as the disk is."""
    made = csbs.ok("backup", "create", server.name)
    server.power_off()
    expected = server.content("vda")
    server.write("vda", offset=0, size=DISK.size_bytes, pattern=3)
    csbs.ok("restore", made["id"], "--yes", "--no-start")

    assert [disk["mode"] for disk in made["disks"]] == ["incremental"]
    assert server.content("vda") == expected


@pytest.mark.parametrize("method", ["put", "any"])
def test_the_server_goes_on_and_the_backup_fails_in_time(
    csbs: Shell, server: DomainServer, host: Host, method: str
) -> None:
    first = csbs.ok("backup", "create", server.name)["id"]
    fill(server, 1)
    server.start()
    clock = Clock()
    with backing_up(csbs, server, method, clock) as waiting:
        for number in range(8):
            server.write("vda", offset=number * 20 * MIB, size=MIB, pattern=number)
        waited = not waiting.result.done() and server.has_job()
        clock.run()
        with pytest.raises(StoreTimeout, match="nfs did not answer within"):
            waiting.result.result(_WAIT_S)
        assert_nothing_is_left(host, server, first)

    assert waited
    statuses = [each["status"] for each in csbs.ok("backup", "list")["backups"]]
    assert statuses == ["available", "error"]
    assert_the_next_is_right(csbs, server)


@pytest.mark.parametrize("method", ["put", "any"])
def test_a_cancel_does_not_wait_for_the_store(
    csbs: Shell, server: DomainServer, host: Host, method: str
) -> None:
    first = csbs.ok("backup", "create", server.name)["id"]
    fill(server, 1)
    server.start()
    with backing_up(csbs, server, method, monotonic) as waiting:
        waiting.cancel.set()
        with pytest.raises(OperationCancelled):
            waiting.result.result(_WAIT_S)  # less than the limit of a call
        assert_nothing_is_left(host, server, first)

    statuses = [each["status"] for each in csbs.ok("backup", "list")["backups"]]
    assert statuses == ["available"]
    assert_the_next_is_right(csbs, server)


def test_the_setting_limits_each_call(
    csbs: Shell, server: DomainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    csbs.ok("backup", "create", server.name)
    [config] = csbs.data_dir.glob("store/*/config")
    config.rename(csbs.data_dir / "aside")
    os.mkfifo(config)  # whoever opens it to read waits for ever
    monkeypatch.setenv("CSBS_STORE_TIMEOUT_S", "0.5")
    result = csbs("backup", "create", server.name, "--json")

    assert (result.code, result.error["object"]) == (7, f"file://{config.parent}")
    assert "did not answer within 0.5 s (get config)" in result.error["message"]
