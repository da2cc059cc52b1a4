"""What goes wrong at a host is told in a sentence that names the object, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.domain.clock import new_id, sleep
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_daemon import libvirtd_pid
from csbs.testing.libvirt_domains import DomainServer, domain_server
from tests.integration.libvirt.conftest import Host
from tests.integration.libvirt.shell import PROGRAM, Shell, contents

pytestmark = pytest.mark.host

NETWORK_DISK = """\
<disk type='network' device='disk'><driver name='qemu' type='raw'/>
<source protocol='nbd' name='x'><host name='127.0.0.1' port='9'/></source>
<target dev='vda' bus='virtio'/></disk>
"""


@pytest.fixture
def server(offline_server: DomainServer) -> DomainServer:
    """A stopped server with some data on each of its three disks."""
    for target in ("vda", "vdb", "vdc"):
        offline_server.write(target, offset=0, size=MIB, pattern=1)
    return offline_server


def test_a_server_whose_only_disk_is_no_local_image_is_named(
    csbs: Shell, host: Host, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.xml"
    disk.write_text(NETWORK_DISK, encoding="utf-8")
    with domain_server((), new_id=new_id, sleep=sleep) as made:
        attach = ["virsh", "-q", "-c", host.uri, "attach-device", made.name, str(disk), "--config"]
        subprocess.run(attach, check=True, timeout=60)
        result = csbs("backup", "create", made.name, "--json")

    assert result.code == 7
    assert f"disk vda of server {made.name}: its image is not a local" in result.error["message"]


def test_an_image_that_may_not_be_read_is_named(csbs: Shell, server: DomainServer) -> None:
    first = csbs.ok("backup", "create", server.name)
    path = server.path("vdb")
    os.chown(path, 65534, 65534)
    path.chmod(0o600)
    done = subprocess.run(
        [
            # root, but bound by the modes of files
            *("setpriv", "--bounding-set=-dac_override,-dac_read_search"),
            *(PROGRAM, "--data-dir", str(csbs.data_dir), "backup", "create", server.name),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    after = csbs.ok("backup", "create", server.name)

    assert done.returncode == 7, done.stderr
    sentence = f"opening failed for disk vdb of server {server.name}: Permission denied"
    assert sentence in done.stderr.splitlines()[-1]
    assert server.checkpoints() == [f"csbs-{after['id']}"]
    statuses = {each["id"]: each["status"] for each in csbs.ok("backup", "list")["backups"]}
    assert (statuses[first["id"]], statuses[after["id"]]) == ("available", "available")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_server_that_is_undefined_meanwhile_keeps_its_backup(
    csbs: Shell, server: DomainServer, host: Host, *, running: bool
) -> None:
    if running:
        server.start()
    expected = contents(server) if not running else {}
    undefine = f"virsh -c {host.uri} undefine --checkpoints-metadata {server.name}"
    made = csbs.ok("backup", "create", server.name, "--name", "b", "--while-open", undefine)

    assert made["status"] == "available"
    result = csbs("backup", "create", server.id, "--json")
    if running:
        assert result.code == 0
        return
    assert (result.code, result.error["object"]) == (3, server.id)
    server.define()
    csbs.ok("restore", "b", "--yes", "--no-start")
    assert contents(server) == expected


def test_a_server_that_vanishes_meanwhile_fails_its_backup(
    csbs: Shell, server: DomainServer, host: Host
) -> None:
    csbs.ok("backup", "create", server.name, "--name", "first")
    expected = contents(server)
    server.start()
    virsh = f"virsh -c {host.uri}"
    vanish = f"{virsh} undefine --checkpoints-metadata {server.name}; {virsh} destroy {server.name}"
    result = csbs("backup", "create", server.name, "--while-open", vanish, "--json")

    assert (result.code, result.error["object"]) == (7, server.name)
    assert "its definition is gone" in result.error["message"]
    server.define()
    csbs.ok("restore", "first", "--yes", "--no-start")
    assert contents(server) == expected
    assert csbs.ok("backup", "create", server.name)["status"] == "available"


@pytest.fixture
def stopped_libvirtd() -> Iterator[Callable[[], str]]:
    """Gives the shell command that stops libvirtd; at the end, or when called again, it goes on."""
    pid = libvirtd_pid()
    yield lambda: f"kill -STOP {pid}"
    os.kill(pid, signal.SIGCONT)


def test_a_libvirt_that_hangs_fails_the_backup_in_time_and_the_next_clears_up(
    csbs: Shell,
    server: DomainServer,
    monkeypatch: pytest.MonkeyPatch,
    stopped_libvirtd: Callable[[], str],
) -> None:
    server.start()
    csbs.ok("backup", "create", server.name)
    server.write("vda", offset=0, size=MIB, pattern=2)
    monkeypatch.setenv("CSBS_LIBVIRT_TIMEOUT_S", "2")
    result = csbs("backup", "create", server.name, "--while-open", stopped_libvirtd(), "--json")
    os.kill(libvirtd_pid(), signal.SIGCONT)
    monkeypatch.delenv("CSBS_LIBVIRT_TIMEOUT_S")
    assert server.is_active()
    after = csbs.ok("backup", "create", server.name)
    server.power_off()
    expected = contents(server)
    server.write("vda", offset=0, size=2 * MIB, pattern=3)
    csbs.ok("restore", after["id"], "--yes", "--no-start")

    assert (result.code, result.error["kind"]) == (7, "unavailable")
    assert "libvirt did not answer" in result.error["message"]
    assert "within 2 s" in result.error["message"]
    assert contents(server) == expected
    assert [disk["mode"] for disk in after["disks"]] == ["incremental", "incremental", "rescan"]
    assert server.checkpoints() == [f"csbs-{after['id']}"]
