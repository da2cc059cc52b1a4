"""The guard beside each job of a real running server, as a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from csbs.app import open_app
from csbs.blockio.priority import NICE
from csbs.compute.libvirt import DriverOptions, LibvirtDriver, ScratchLimits
from csbs.config import Settings
from csbs.domain.clock import monotonic, sleep
from csbs.domain.errors import ScratchFull
from csbs.domain.task import Progress
from csbs.services.requests import CreateBackup
from csbs.testing.driver_contract import FIRST, MIB, SECOND, begin
from csbs.testing.libvirt_domains import DomainServer
from csbs.workflows.run import Watcher
from tests.integration.blockio.servers import priority_of
from tests.integration.libvirt.conftest import Host

pytestmark = pytest.mark.host

_WAIT_S = 30.0


@pytest.fixture
def strict(host: Host) -> LibvirtDriver:
    """Lets a job use 1 MiB of scratch space."""
    return LibvirtDriver(
        host.uri,
        run_folder=host.run_folder,
        scratch_folder=host.scratch_folder,
        options=DriverOptions(scratch_limits=ScratchLimits(max_bytes=MIB, reserve_bytes=0)),
    )


def guards(server: DomainServer) -> list[int]:
    """Processes that guard a job of the server."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"csbs.compute.libvirt.guard" in command and server.id.encode() in command:
                found.append(int(folder.name))
    return found


def overwrite(server: DomainServer) -> None:
    """Overwrites 4 MiB that were there before the job began, and waits until the job is ended."""
    server.write("vda", offset=0, size=4 * MIB, pattern=2)
    end = monotonic() + _WAIT_S
    while server.has_job():
        assert monotonic() < end, "the guard does not end the job"
        sleep(0.1)


def test_it_is_there_when_the_job_begins_and_gone_when_it_has_ended(
    strict: LibvirtDriver, server: DomainServer
) -> None:
    job = begin(strict, server.id, FIRST)
    beside = guards(server)
    job.end()

    assert len(beside) == 1
    assert guards(server) == []


def test_copies_are_low_and_what_protects_the_server_is_not(
    settings: Settings, server: DomainServer
) -> None:
    usual = priority_of(threading.get_native_id())
    found: dict[str, set[tuple[int, str]]] = {}

    def on_progress(_: Progress) -> None:
        for each in threading.enumerate():
            kind = each.name.rpartition("_")[0] or each.name
            if kind in {"copy-disk", "copy-piece", "MainThread"}:  # others may end meanwhile
                assert each.native_id is not None
                found.setdefault(kind, set()).add(priority_of(each.native_id))
        found["guard"] = {priority_of(process) for process in guards(server)}

    with open_app(settings) as app:
        watcher = Watcher(on_progress=on_progress, cancel=threading.Event())
        app.backups.create(CreateBackup(server=server.name), watcher)

    low = {(NICE, "best-effort: prio 7")}
    assert [found[kind] for kind in ("copy-disk", "copy-piece")] == [low] * 2
    assert [found[kind] for kind in ("guard", "MainThread")] == [{usual}] * 2
    assert {usual} != low


def test_one_that_was_killed_is_started_again(strict: LibvirtDriver, server: DomainServer) -> None:
    server.write("vda", offset=0, size=4 * MIB, pattern=1)
    job = begin(strict, server.id, FIRST)
    [killed] = guards(server)
    os.kill(killed, signal.SIGKILL)
    end = monotonic() + _WAIT_S
    while guards(server) == [killed] or not guards(server):
        assert monotonic() < end, "no other guard is started"
        job.check()

    overwrite(server)

    with pytest.raises(ScratchFull, match="overwrote more than 1 MiB"):
        job.check()
    job.abandon()
    assert server.is_active()
    begin(strict, server.id, SECOND).end()
    assert guards(server) == []
