"""Deleting the newest backups of a real server: tracking goes on from the one before."""

from __future__ import annotations

import pytest

from csbs.blockio.qemu_img import image_info
from csbs.domain.extents import BLOCK_SIZE
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_of_a_chain_of_five_the_newest_are_deleted_and_the_next_is_incremental(
    csbs: Shell, server: DomainServer, *, running: bool
) -> None:
    if not running:
        server.power_off()
    chain = []
    for number in range(5):
        server.write("vda", offset=number * MIB, size=MIB, pattern=10 + number)
        server.zero("vdb", offset=number * MIB // 2, size=MIB // 2)
        chain.append(csbs.ok("backup", "create", server.name))
    for newest in (chain[4], chain[3]):
        csbs.ok("backup", "delete", newest["id"], "--yes")
    csbs.ok("repository", "collect")
    server.write("vda", offset=6 * MIB, size=BLOCK_SIZE, pattern=77)
    last = csbs.ok("backup", "create", server.name)
    held = server.checkpoints()
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    for target in ("vda", "vdb", "vdc"):
        server.write(target, offset=0, size=MIB, pattern=99)
    csbs.ok("restore", last["id"], "--yes", "--no-start")

    assert [disk["mode"] for disk in last["disks"]] == ["incremental", "incremental", "rescan"]
    # Two MiB of the deleted ones and a block; what became zero is not read.
    assert last["disks"][0]["read_bytes"] == 2 * MIB + BLOCK_SIZE
    assert last["disks"][0]["changed_bytes"] == 2 * MIB + BLOCK_SIZE
    assert held == [f"csbs-{last['id']}"]
    assert contents(server) == expected


def test_a_server_whose_last_backup_is_deleted_can_be_undefined(
    csbs: Shell, server: DomainServer
) -> None:
    first = csbs.ok("backup", "create", server.name)
    second = csbs.ok("backup", "create", server.name)
    csbs.ok("backup", "delete", second["id"], "--yes")
    assert server.checkpoints() == [f"csbs-{second['id']}"]
    csbs.ok("backup", "delete", first["id"], "--yes")

    assert server.checkpoints() == []
    csbs.ok("server", "stop", server.name)
    assert image_info(server.path("vda"), image_format="qcow2").bitmaps == ()
    assert server.can_be_undefined()
