"""Restores of real servers whose disks changed, that were cut off, and what comes after them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from csbs.blockio.processes import run_tool
from csbs.compute.base import DiskToWrite
from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.clock import new_id, sleep
from csbs.domain.errors import CsbsError, ToolFailed
from csbs.domain.extents import BLOCK_SIZE
from csbs.testing import by_hand
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import (
    DomainDisk,
    DomainServer,
    domain_server,
    read_export,
    write_export,
)
from tests.integration.blockio.servers import nbdkit
from tests.integration.libvirt.conftest import Host
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host

BOOT, LEFT, RIGHT, OLD, GONE = (
    DomainDisk(target=target, size_bytes=4 * MIB) for target in ("vda", "vdb", "vdc", "vdd", "vde")
)
NEW = DomainDisk(target="vdf", size_bytes=4 * MIB)


@pytest.fixture
def five_disks(host: Host) -> Iterator[DomainServer]:
    """A running server with a disk for each thing that may happen to one."""
    del host  # libvirt runs
    with domain_server((BOOT, LEFT, RIGHT, OLD, GONE), new_id=new_id, sleep=sleep) as server:
        server.start()
        for number, target in enumerate(("vda", "vdb", "vdc", "vdd", "vde")):
            server.write(target, offset=number * BLOCK_SIZE, size=MIB, pattern=number + 1)
        yield server


def bytes_of(server: DomainServer) -> dict[str, bytes]:
    targets = ("vda", "vdb", "vdc", "vdd", "vde")
    return {target: server.content(target) for target in targets}


@pytest.mark.parametrize("starts", [True, False], ids=["starts", "stays stopped"])
def test_disks_are_restored_wherever_they_went(
    csbs: Shell, five_disks: DomainServer, *, starts: bool
) -> None:
    server = five_disks
    server.power_off()
    saved = bytes_of(server)
    csbs.ok("backup", "create", server.name, "--name", "b")
    run_tool(
        ["qemu-img", "resize", "-f", "qcow2", str(server.path("vda")), "6M"],
        doing="growing vda",
        timeout_s=60,
    )
    places = {"vda": BOOT, "vdb": RIGHT, "vdc": LEFT, "vdg": OLD, "vdf": NEW}
    server.redefine(places)
    for target in places:
        server.write(target, offset=0, size=4 * MIB, pattern=90)
    server.write("vda", offset=5 * MIB, size=MIB, pattern=91)
    planned = csbs.ok("restore", "b", "--dry-run")["disks"]
    csbs.ok("restore", "b", "--yes", "--no-start")
    restored = {target: server.content(target) for target in places}
    if starts:
        csbs.ok("server", "start", server.name)
    after = csbs.ok("backup", "create", server.name, "--name", "after")
    csbs.ok("server", "stop", server.name)
    for target in places:
        server.write(target, offset=MIB, size=MIB, pattern=92)
    csbs.ok("restore", "after", "--yes", "--no-start")

    assert {target: server.content(target) for target in places} == restored
    notes = {disk["target"]: (disk["action"], disk["note"]) for disk in planned}
    assert {target: action for target, (action, _) in notes.items()} == {
        **dict.fromkeys(("vda", "vdb", "vdc", "vdg"), "write"),
        "vdf": "keep",
        "vde": "leave_out",
    }
    assert f"it keeps its size, from byte {4 * MIB} on it becomes zero" in notes["vda"][1]
    assert notes["vdb"][1] == "it was vdc in the backup"
    assert notes["vdg"][1] == "it was vdd in the backup"
    assert "it keeps its data" in notes["vdf"][1]
    assert f"attach a disk at {server.image(GONE)} again" in notes["vde"][1]
    assert restored == {
        "vda": saved["vda"] + bytes(2 * MIB),
        "vdb": saved["vdc"],
        "vdc": saved["vdb"],
        "vdg": saved["vdd"],
        "vdf": b"\x5a" * 4 * MIB,
    }
    assert {disk["target"]: disk["mode"] for disk in after["disks"]} == {
        "vda": "rescan",  # it grew since its last backup
        **dict.fromkeys(("vdb", "vdc", "vdg"), "incremental"),
        "vdf": "full",
    }


def test_a_disk_that_later_backups_took_for_a_new_one_is_restored(
    csbs: Shell, server: DomainServer
) -> None:
    """A raw disk that grew is a new one to the next backup; to an older one it is the same."""
    server.power_off()
    saved = contents(server)
    csbs.ok("backup", "create", server.name, "--name", "b")
    by_hand.resize(server, "vdc", 3 * MIB)
    server.write("vdc", offset=0, size=3 * MIB, pattern=8)
    csbs.ok("backup", "create", server.name, "--name", "grown")
    done = csbs.ok("restore", "b", "--yes", "--no-start")
    restored = contents(server)
    after = csbs.ok("backup", "create", server.name, "--name", "after")
    csbs.ok("restore", "grown", "--yes", "--no-start")
    grown = contents(server)
    csbs.ok("restore", "after", "--yes", "--no-start")

    assert [disk["action"] for disk in done["disks"]] == ["write"] * 3
    assert restored == saved | {"vdc": saved["vdc"].ljust(3 * MIB, b"\0")} == contents(server)
    assert after["disks"][2]["mode"] == "rescan"
    assert grown == saved | {"vdc": b"\x08" * 3 * MIB}


def test_a_removed_disk_comes_back_when_it_is_attached_again(
    csbs: Shell, five_disks: DomainServer
) -> None:
    """Its file need not be there: that is how the note says to get at its data."""
    server = five_disks
    server.power_off()
    saved = bytes_of(server)
    csbs.ok("backup", "create", server.name, "--name", "b")
    server.redefine({"vda": BOOT})
    csbs.ok("backup", "create", server.name)
    server.redefine({"vda": BOOT, "vdz": GONE})
    server.path("vdz").unlink()
    csbs.ok("restore", "b", "--yes", "--no-start")

    assert server.content("vdz") == saved["vde"]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_the_backup_after_a_restore_is_incremental(
    csbs: Shell, server: DomainServer, *, running: bool
) -> None:
    if not running:
        server.power_off()
    csbs.ok("backup", "create", server.name, "--name", "first")
    server.write("vda", offset=MIB, size=4 * MIB, pattern=7)
    server.zero("vdb", offset=MIB, size=MIB)
    csbs.ok("backup", "create", server.name, "--name", "second")
    server.write("vda", offset=6 * MIB, size=MIB, pattern=8)  # in no backup at all
    csbs.ok("restore", "first", "--yes", *([] if running else ["--no-start"]))
    assert server.is_active() == running
    server.write("vdb", offset=3 * MIB, size=BLOCK_SIZE, pattern=9)
    third = csbs.ok("backup", "create", server.name, "--name", "third")
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    for target in ("vda", "vdb", "vdc"):
        server.write(target, offset=0, size=2 * MIB, pattern=99)
    csbs.ok("restore", "third", "--yes", "--no-start")

    assert [disk["mode"] for disk in third["disks"]] == ["incremental", "incremental", "rescan"]
    assert expected["vda"] == (b"\x01" * MIB).ljust(8 * MIB, b"\0")
    assert expected["vdb"][MIB : 2 * MIB] == b"\x02" * MIB
    assert contents(server) == expected


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_restore_of_a_small_difference_writes_little(
    csbs: Shell, host: Host, *, running: bool
) -> None:
    """Back to an older backup, and forth; each time the next backup is incremental and right."""
    del host  # libvirt runs
    disk = DomainDisk(target="vda", size_bytes=256 * MIB)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as server:
        server.write("vda", offset=0, size=128 * MIB, pattern=5)
        csbs.ok("backup", "create", server.name, "--name", "old")
        old = server.content("vda")
        if running:
            server.start()
        server.write("vda", offset=3 * MIB + 512, size=MIB, pattern=6)
        server.zero("vda", offset=60 * MIB, size=MIB)
        csbs.ok("backup", "create", server.name, "--name", "new")
        server.write("vda", offset=200 * MIB, size=MIB, pattern=7)  # in no backup
        back = csbs.ok("restore", "old", "--yes", "--no-start")["disks"][0]
        restored = server.content("vda")
        after = csbs.ok("backup", "create", server.name, "--name", "after")
        forth = csbs.ok("restore", "new", "--yes", "--no-start")["disks"][0]
        new = server.content("vda")
        again = csbs.ok("restore", "after", "--yes", "--no-start")["disks"][0]

        assert restored == server.content("vda") == old
        assert (
            new
            == old[: 3 * MIB + 512]
            + b"\x06" * MIB
            + old[4 * MIB + 512 : 60 * MIB]
            + bytes(MIB)
            + old[61 * MIB :]
        )
        assert [each["way"] for each in (back, forth, again)] == ["difference"] * 3
        for each in (back, forth, again):
            assert each["written_bytes"] + each["zeroed_bytes"] <= 3 * MIB + 2 * BLOCK_SIZE
            done = each["written_bytes"] + each["zeroed_bytes"] + each["unchanged_bytes"]
            assert done == 256 * MIB
        assert after["disks"][0]["mode"] == "incremental"
        assert after["changed_bytes"] <= 3 * MIB + 2 * BLOCK_SIZE


@pytest.mark.parametrize("compare", [True, False], ids=["--compare", "sample"])
def test_a_write_past_the_bitmaps_is_found(csbs: Shell, host: Host, *, compare: bool) -> None:
    """One block is found for certain by `--compare`; many are by the sample."""
    del host  # libvirt runs
    disk = DomainDisk(target="vda", size_bytes=64 * MIB)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as server:
        server.write("vda", offset=0, size=64 * MIB, pattern=5)
        csbs.ok("backup", "create", server.name, "--name", "b")
        saved = server.content("vda")
        write_unseen(server, offset=MIB, size=512 if compare else 8 * MIB)
        [done] = csbs.ok("restore", "b", "--yes", "--no-start", *(["--compare"] * compare))["disks"]

        assert server.content("vda") == saved
        why = "asked for" if compare else "a sample of what tracking calls unchanged has changed"
        assert (done["way"], done["way_reason"]) == ("compare", why)
        assert done["written_bytes"] == (BLOCK_SIZE if compare else 8 * MIB)


def test_zeroes_past_the_bitmaps_are_found(csbs: Shell, host: Host) -> None:
    """No sample is needed: what is allocated tells."""
    del host  # libvirt runs
    disk = DomainDisk(target="vda", size_bytes=64 * MIB)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as server:
        server.write("vda", offset=0, size=64 * MIB, pattern=5)
        csbs.ok("backup", "create", server.name, "--name", "b")
        saved = server.content("vda")
        write_unseen(server, offset=MIB, size=BLOCK_SIZE, zero=True)
        [done] = csbs.ok("restore", "b", "--yes", "--no-start")["disks"]
        after = csbs.ok("backup", "create", server.name)

        assert server.content("vda") == saved
        assert (done["way"], done["written_bytes"]) == ("difference", BLOCK_SIZE)
        assert after["disks"][0]["mode"] == "incremental"


def write_unseen(server: DomainServer, *, offset: int, size: int, zero: bool = False) -> None:
    """Writes to vda of a stopped server with all its bitmaps switched off."""
    path = str(server.path("vda"))
    for change in ("--disable", "--enable"):
        for name in server.checkpoints():
            run_tool(["qemu-img", "bitmap", change, path, name], doing=change, timeout_s=60)
        if change == "--disable":
            if zero:
                server.zero("vda", offset=offset, size=size)
            else:
                server.write("vda", offset=offset, size=size, pattern=6)


#: Restores, and dies like by kill -9 when a part of the first disk, the large one, is written.
DIE_IN_THE_MIDDLE = """
import os, signal, sys, threading
from pathlib import Path
from csbs.app import open_app
from csbs.config import load_settings
from csbs.services.requests import RestoreRequest
from csbs.workflows.run import Watcher
def die(progress):
    if progress.doing.startswith("writing vda") and progress.done_bytes > 32 * 1024**2:
        os.kill(os.getpid(), signal.SIGKILL)
with open_app(load_settings(Path(sys.argv[1]))) as app:
    watcher = Watcher(on_progress=die, cancel=threading.Event())
    app.restores.restore(app.restores.plan("b"), watcher, RestoreRequest(power_on=False))
"""


@pytest.mark.parametrize("qemu_nbd_dies", [False, True], ids=["csbs alone", "qemu-nbd too"])
def test_a_restore_that_was_killed_goes_on_by_comparing(
    csbs: Shell, host: Host, *, qemu_nbd_dies: bool
) -> None:
    disks = (
        DomainDisk(target="vda", size_bytes=256 * MIB),
        DomainDisk(target="vdb", size_bytes=MIB),
    )
    with domain_server(disks, new_id=new_id, sleep=sleep) as server:
        server.write("vda", offset=0, size=200 * MIB, pattern=5)
        server.write("vdb", offset=0, size=BLOCK_SIZE, pattern=5)
        csbs.ok("backup", "create", server.name, "--name", "b")
        saved = {target: server.content(target) for target in ("vda", "vdb")}
        server.write("vda", offset=0, size=256 * MIB, pattern=6)
        server.write("vdb", offset=0, size=MIB, pattern=6)
        died = subprocess.run(
            [sys.executable, "-c", DIE_IN_THE_MIDDLE, str(csbs.data_dir)], check=False, timeout=120
        )
        assert died.returncode == -signal.SIGKILL
        if qemu_nbd_dies:
            assert by_hand.kill_qemu_nbd(host.run_folder)
        done = csbs.ok("restore", "b", "--yes", "--no-start")
        restored = {target: server.content(target) for target in ("vda", "vdb")}
        after = csbs.ok("backup", "create", server.name)

        vda, _ = done["disks"]
        assert done["resumed"]
        assert restored == saved
        assert vda["unchanged_bytes"] >= 32 * MIB  # what it had done when it died
        expected_mode = "rescan" if qemu_nbd_dies else "incremental"
        assert [disk["mode"] for disk in after["disks"]] == [expected_mode] * 2
        assert after["changed_bytes"] == 0


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_an_image_that_somebody_writes_is_refused_unchanged(
    csbs: Shell, host: Host, image_format: str
) -> None:
    """By a qemu-nbd of his, say, to mount it."""
    del host  # libvirt runs
    disk = DomainDisk(target="vda", size_bytes=4 * MIB, format=image_format)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as server:
        server.write("vda", offset=0, size=MIB, pattern=1)
        csbs.ok("backup", "create", server.name, "--name", "b")
        server.write("vda", offset=0, size=MIB, pattern=2)
        with by_hand.served(server, "vda"):
            refused = csbs("restore", "b", "--yes", "--no-start", "--json")

        assert "vda" in refused.error["message"]
        assert server.content("vda")[:MIB] == b"\x02" * MIB
        server.start()  # nothing is half written


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_nobody_else_writes_during_a_restore(host: Host, image_format: str) -> None:
    driver = LibvirtDriver(host.uri, run_folder=host.run_folder, scratch_folder=host.scratch_folder)
    disk = DomainDisk(target="vda", size_bytes=4 * MIB, format=image_format)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as server:
        [found] = driver.describe(server.id).disks
        with driver.open_for_restore(server.id, [DiskToWrite(disk=found)]) as opened:
            with pytest.raises(ToolFailed, match="lock"):
                server.write("vda", offset=0, size=512, pattern=3)
            with pytest.raises(CsbsError, match="lock"):
                server.start()
            write_export(opened["vda"].uri, offset=0, size=MIB, pattern=4)

        assert server.content("vda")[:MIB] == b"\x04" * MIB


def test_a_shared_disk_is_refused_by_name(csbs: Shell, host: Host) -> None:
    del host  # libvirt runs
    shared = DomainDisk(target="vdb", size_bytes=MIB, format="raw", shareable=True)
    own = DomainDisk(target="vda", size_bytes=MIB)
    with domain_server((own, shared), new_id=new_id, sleep=sleep) as server:
        result = csbs("backup", "create", server.name, "--json")

        assert (result.code, result.error["object"]) == (5, "vdb")
        assert "is shared" in result.error["message"]
        assert csbs.ok("backup", "list")["backups"] == []
        assert server.checkpoints() == []


def test_a_network_disk_is_backed_up_and_kept_by_a_restore(csbs: Shell, host: Host) -> None:
    del host  # libvirt runs
    own = DomainDisk(target="vda", size_bytes=MIB)
    with (
        domain_server((own,), new_id=new_id, sleep=sleep) as server,
        nbdkit(server.folder, "memory", "1M") as remote,
    ):
        socket = server.folder / "nbdkit.sock"
        socket.chmod(0o666)  # QEMU is another user
        network = DomainDisk(target="vdb", size_bytes=MIB, format="raw", nbd_socket=socket)
        server.redefine({"vda": own, "vdb": network})
        write_export(remote.uri, offset=0, size=BLOCK_SIZE, pattern=3)
        server.start()
        server.write("vda", offset=0, size=BLOCK_SIZE, pattern=1)
        made = csbs.ok("backup", "create", server.name, "--name", "b")
        server.write("vda", offset=0, size=BLOCK_SIZE, pattern=2)
        write_export(remote.uri, offset=0, size=BLOCK_SIZE, pattern=4)
        done = csbs.ok("restore", "b", "--yes", "--no-start")

        assert [disk["changed_bytes"] for disk in made["disks"]] == [BLOCK_SIZE] * 2
        assert server.content("vda")[:BLOCK_SIZE] == b"\x01" * BLOCK_SIZE
        assert read_export(remote.uri, server.folder)[:BLOCK_SIZE] == b"\x04" * BLOCK_SIZE
        _, kept, left_out = done["disks"]
        assert [disk["target"] for disk in done["disks"]] == ["vda", "vdb", "vdb"]
        assert [disk["action"] for disk in done["disks"]] == ["write", "keep", "leave_out"]
        no_file = "its image is not a local file or device, so csbs cannot "
        assert kept["note"].startswith(no_file + "write it")
        assert left_out["note"].startswith(no_file + "bring it back; its data stays")
