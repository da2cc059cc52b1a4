"""Servers and processes of a run, so that the next one finds what a killed run left behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from csbs.blockio.processes import ProcessRecord, end_process
from csbs.domain.clock import new_id, sleep
from csbs.testing.guest import GuestImage, GuestServer, remove_server
from csbs.testing.guest.server import servers_named
from csbs.testing.libvirt_daemon import URI
from csbs.testing.libvirt_domains import PREFIX, DomainDisk, DomainServer, domain_server
from csbs.testing.seaweedfs import RECORD

#: QEMU, which is another user, must be able to come here.
_HOME = Path("/var/lib")
_GUEST_PREFIX = "csbs-bench-"
#: In the folder of a server of tests that is the benchmark's.
_MARK = ".csbs-bench"
_END_TIMEOUT_S = 10.0


class Busy(Exception):
    """Another run measures already."""


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Nobody else measures meanwhile.  Raises `Busy`."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(f"another run holds {lock}") from None
    finally:
        os.close(descriptor)


@contextmanager
def bench_server(disks: Sequence[DomainDisk]) -> Iterator[DomainServer]:
    """A stopped server with new, empty disks and no guest; removed at the end."""
    with domain_server(disks, new_id=new_id, sleep=sleep) as server:
        (server.folder / _MARK).touch()
        yield server


@contextmanager
def bench_guest(image: GuestImage) -> Iterator[GuestServer]:
    """A stopped server with the real guest; removed at the end."""
    name = _GUEST_PREFIX + new_id()[:8]
    try:
        yield GuestServer.create(image, name, _HOME / name, URI)
    finally:
        remove_server(name, _HOME / name, URI)


def remove_servers() -> None:
    """Removes all servers of benchmarks; none may be in use."""
    marked = [path.parent.name for path in _HOME.glob(f"{PREFIX}*/{_MARK}")]
    for name in marked + servers_named(_GUEST_PREFIX, URI):
        remove_server(name, _HOME / name, URI)


def end_processes(folder: Path) -> None:
    """Ends each qemu-nbd and S3 server that has its record in the folder.  Raises `ToolFailed`."""
    for path in folder.rglob("*.pid"):
        program = "weed" if path.name == RECORD else "qemu-nbd"
        record = ProcessRecord.read(path, program=program)
        if record is not None:
            end_process(record, timeout_s=_END_TIMEOUT_S)
        path.unlink(missing_ok=True)
