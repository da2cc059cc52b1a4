"""A host that does not let us in, or not far enough."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from csbs.compute.base import DiskToWrite
from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.errors import FolderDenied, HypervisorUnavailable
from csbs.testing.driver_contract import FIRST, begin
from csbs.testing.libvirt_domains import DomainServer
from tests.integration.libvirt.conftest import Host

pytestmark = pytest.mark.host

LIST = """
import os, sys
from pathlib import Path
from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.errors import CsbsError
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
driver = LibvirtDriver(sys.argv[1], run_folder=Path("/run/x"), scratch_folder=Path("/run/x"))
try:
    driver.list_servers()
except CsbsError as error:
    print(type(error).__name__)
print([check.name for check in driver.host_checks() if not check.ok])
"""


def test_a_host_without_libvirtd_is_unavailable(host: Host) -> None:
    driver = LibvirtDriver(
        "qemu:///system?socket=/run/no-such-socket",
        run_folder=host.run_folder,
        scratch_folder=host.scratch_folder,
    )

    with pytest.raises(HypervisorUnavailable):
        driver.list_servers()
    failed = [check for check in driver.host_checks() if not check.ok]

    assert [check.name for check in failed] == ["libvirt"]
    assert "start libvirtd" in failed[0].advice


def test_a_user_without_rights_is_denied(host: Host) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # libvirtd is root's: here its socket can be seen, and not be used.
        socket = Path(folder) / "libvirt-sock"
        socket.symlink_to("/run/libvirt/libvirt-sock")
        result = subprocess.run(
            [sys.executable, "-c", LIST, f"qemu:///system?socket={socket}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert result.stdout.splitlines() == [
        "HypervisorDenied",
        "['libvirt', 'run folder', 'scratch folder']",
    ]
    assert result.stderr == ""


def test_a_fitting_host_passes_every_check(driver: LibvirtDriver) -> None:
    assert [check for check in driver.host_checks() if not check.ok] == []


def test_a_folder_that_qemu_cannot_enter_is_refused_by_name(
    host: Host, offline_server: DomainServer
) -> None:
    with tempfile.TemporaryDirectory() as closed:  # its mode is 0700
        driver = LibvirtDriver(
            host.uri, run_folder=host.run_folder, scratch_folder=Path(closed) / "scratch"
        )

        offline_server.start()
        with pytest.raises(FolderDenied, match=closed):
            begin(driver, offline_server.id, FIRST)
        failed = [check for check in driver.host_checks() if not check.ok]

    assert [check.name for check in failed] == ["scratch folder"]
    assert offline_server.checkpoints() == []


def test_a_stopped_server_needs_no_scratch_folder(host: Host, offline_server: DomainServer) -> None:
    with tempfile.NamedTemporaryFile() as no_folder:
        driver = LibvirtDriver(
            host.uri, run_folder=host.run_folder, scratch_folder=Path(no_folder.name) / "scratch"
        )
        job = begin(driver, offline_server.id, FIRST)
        job.abandon()
        disks = [DiskToWrite(disk=disk) for disk in driver.describe(offline_server.id).disks]
        with driver.open_for_restore(offline_server.id, disks) as uris:
            assert sorted(uris) == ["vda", "vdb", "vdc"]
        offline_server.start()
        with pytest.raises(FolderDenied, match=no_folder.name):
            begin(driver, offline_server.id, FIRST)
