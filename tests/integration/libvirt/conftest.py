"""A real libvirt, and servers without a guest system on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from csbs.compute.libvirt import LibvirtDriver
from csbs.config import Settings
from csbs.domain.clock import new_id, sleep
from csbs.testing.chain import Chain
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_daemon import libvirt_running
from csbs.testing.libvirt_domains import PREFIX, DomainDisk, DomainServer, domain_server
from tests.integration.libvirt.chains import begin_running, new_chain
from tests.integration.libvirt.shell import Shell

DISKS = (
    DomainDisk(target="vda", size_bytes=8 * MIB),
    DomainDisk(target="vdb", size_bytes=4 * MIB),
    DomainDisk(target="vdc", size_bytes=2 * MIB, format="raw"),
)


BeginChain = Callable[[int], Chain]


@dataclass(frozen=True)
class Host:
    """Where the driver under test works."""

    uri: str
    run_folder: Path
    scratch_folder: Path


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    # Not in pytest's folders: QEMU, which is another user, must be able to enter them.
    name = f"{PREFIX}{new_id()[:8]}"
    folders = Path("/run") / name, Path("/var/lib") / name
    with libvirt_running() as uri:
        yield Host(uri, *folders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driver(host: Host) -> LibvirtDriver:
    return LibvirtDriver(host.uri, run_folder=host.run_folder, scratch_folder=host.scratch_folder)


@pytest.fixture
def settings(host: Host, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        libvirt_uri=host.uri,
        run_dir=host.run_folder,
        scratch_dir=host.scratch_folder,
        stop_timeout_s=1,  # there is no guest system that could shut down
    )


@pytest.fixture
def begin_chain(settings: Settings, tmp_path: Path) -> Iterator[BeginChain]:
    """Begins a chain with this seed: a running server with two backups, both checked."""
    with ExitStack() as stack:

        def begin(seed: int) -> Chain:
            chain = stack.enter_context(new_chain(settings, seed=seed, tmp=tmp_path))
            begin_running(chain)
            return chain

        yield begin


@pytest.fixture
def offline_server(host: Host) -> Iterator[DomainServer]:
    with domain_server(DISKS, new_id=new_id, sleep=sleep) as server:
        yield server


@pytest.fixture
def csbs(
    host: Host,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.setenv("CSBS_LIBVIRT_URI", host.uri)
    monkeypatch.setenv("CSBS_RUN_DIR", str(host.run_folder))
    monkeypatch.setenv("CSBS_SCRATCH_DIR", str(host.scratch_folder))
    # There is no guest system that could shut down.
    monkeypatch.setenv("CSBS_STOP_TIMEOUT_S", "1")
    return Shell(tmp_path / "data", capsys)


@pytest.fixture
def server(offline_server: DomainServer) -> DomainServer:
    """A running server with three disks: vda and vdb are qcow2, vdc is raw."""
    offline_server.start()
    offline_server.write("vda", offset=0, size=MIB, pattern=1)
    offline_server.write("vdb", offset=MIB, size=MIB, pattern=2)
    offline_server.write("vdc", offset=0, size=65536, pattern=3)
    return offline_server


@pytest.fixture
def wait_for() -> Callable[[Path], None]:
    def wait(path: Path) -> None:
        script = f"until [ -e {path} ]; do sleep 0.05; done"
        subprocess.run(["sh", "-c", script], check=True, timeout=60)

    return wait
