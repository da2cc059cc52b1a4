"""The guard beside each job of a real running server, as a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from csbs.compute.libvirt import DriverOptions, LibvirtDriver, ScratchLimits
from csbs.domain.clock import monotonic, sleep
from csbs.domain.errors import ScratchFull
from csbs.testing.driver_contract import FIRST, MIB, SECOND, begin
from csbs.testing.libvirt_domains import DomainServer
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
