"""The real Debian guest, on a real libvirt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from csbs.domain.clock import new_id
from csbs.testing.guest import GuestServer, cache_folder, ensure_image, remove_server
from csbs.testing.libvirt_daemon import libvirt_running
from demo.command import CsbsCommand

PREFIX = "csbs-test-"
#: QEMU, which is another user, must be able to come here: not in pytest's folders.
HOME = Path("/var/lib")
RUN = Path("/run")
BOOT_TIMEOUT_S = 240.0


@contextmanager
def stopped_guest() -> Iterator[GuestServer]:
    """A stopped server, removed at the end."""
    image = ensure_image(cache_folder(os.environ), lambda _: None)
    name = f"{PREFIX}{new_id()[:8]}"
    with libvirt_running() as uri:
        try:
            yield GuestServer.create(image, name, HOME / name, uri)
        finally:
            remove_server(name, HOME / name, uri)


def csbs_for(guest: GuestServer, data_dir: Path) -> CsbsCommand:
    """The command `csbs`, on a data folder of its own."""
    return CsbsCommand(
        data_dir=data_dir,
        run_dir=RUN / guest.name,
        scratch_dir=guest.folder / "scratch",
    )


@pytest.fixture
def guest() -> Iterator[GuestServer]:
    with stopped_guest() as server:
        yield server


@dataclass(frozen=True)
class Running:
    """A server that runs, with its first backup, and the command."""

    guest: GuestServer
    csbs: CsbsCommand


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """For tests that leave it running, and unharmed."""
    with stopped_guest() as guest:
        csbs = csbs_for(guest, tmp_path_factory.mktemp("running") / "data")
        csbs("server", "start", guest.name)
        guest.shell.wait_until_ready(timeout_s=BOOT_TIMEOUT_S)
        csbs("backup", "create", guest.name, "--consistency", "crash")
        yield Running(guest, csbs)


@pytest.fixture
def csbs(guest: GuestServer, tmp_path: Path) -> CsbsCommand:
    return csbs_for(guest, tmp_path / "data")
