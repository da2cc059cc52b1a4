"""A real server is powered off, or killed, in the middle of its backup."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from csbs.app import open_app
from csbs.config import load_settings
from csbs.domain.backup import Backup
from csbs.domain.clock import new_id, sleep
from csbs.domain.errors import ServerPoweredOff
from csbs.domain.task import Progress
from csbs.services.requests import CreateBackup
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainDisk, DomainServer, domain_server
from csbs.workflows.run import Watcher
from tests.integration.libvirt.conftest import Host
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host

#: Larger than what is read ahead, so that most of vda is unread when its first piece is stored.
DISKS = (
    DomainDisk(target="vda", size_bytes=64 * MIB),
    DomainDisk(target="vdb", size_bytes=32 * MIB),
    DomainDisk(target="vdc", size_bytes=2 * MIB, format="raw"),
)

End = Callable[[DomainServer], None]


@pytest.fixture
def server(host: Host) -> Iterator[DomainServer]:
    with domain_server(DISKS, new_id=new_id, sleep=sleep) as made:
        made.start()
        for disk in DISKS:
            made.write(disk.target, offset=0, size=disk.size_bytes, pattern=1)
        yield made


def back_up(csbs: Shell, server: DomainServer, target: str, end: End) -> Backup:
    """A backup in which the server writes and ends while a disk is read, the larger ones too."""
    reached: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        read_now = progress.doing.removeprefix("reading ").split(", ")
        if target in read_now and not reached:
            reached.append(progress)
            scribble(server, 7)
            end(server)

    with open_app(load_settings(csbs.data_dir)) as app:
        watcher = Watcher(on_progress=on_progress, cancel=threading.Event())
        try:
            return app.backups.create(CreateBackup(server=server.name), watcher)
        finally:
            assert reached


def scribble(server: DomainServer, pattern: int) -> None:
    """Writes parts of all disks, at both ends."""
    for disk in DISKS:
        server.write(disk.target, offset=pattern * 4096, size=100_000, pattern=pattern)
        server.zero(disk.target, offset=pattern * 65536, size=4096)
        server.write(disk.target, offset=disk.size_bytes - 65536, size=512, pattern=pattern)


def modes(backup: dict[str, list[dict[str, str]]]) -> list[str]:
    return [disk["mode"] for disk in backup["disks"]]


def go_on(csbs: Shell, server: DomainServer) -> None:
    """Backs up the stopped server, then the running one; each is restored and compared."""
    scribble(server, 3)
    content_offline = contents(server)
    offline = csbs.ok("backup", "create", server.name)
    server.start()
    scribble(server, 4)
    live = csbs.ok("backup", "create", server.name)
    server.power_off()
    content_live = contents(server)

    assert modes(offline) == modes(live) == ["incremental", "incremental", "rescan"]
    assert server.checkpoints() == [f"csbs-{live['id']}"]
    for backup, content in ((offline, content_offline), (live, content_live)):
        csbs.ok("restore", backup["id"], "--yes", "--no-start")
        assert contents(server) == content


@pytest.mark.parametrize(
    ("incremental", "target", "end"),
    [
        (False, "vda", DomainServer.power_off),
        (True, "vda", DomainServer.end_unannounced),
        (True, "vdb", DomainServer.power_off),
        (True, "vdc", DomainServer.power_off),
    ],
    ids=["full, in vda", "in vda, unannounced", "in vdb", "in vdc"],
)
def test_the_backup_is_of_the_power_off(
    csbs: Shell,
    server: DomainServer,
    target: str,
    end: End,
    *,
    incremental: bool,
) -> None:
    if incremental:
        csbs.ok("backup", "create", server.name)
        for disk in DISKS:
            server.write(disk.target, offset=0, size=disk.size_bytes, pattern=2)
    made = back_up(csbs, server, target, end)
    content = contents(server)

    assert not server.is_active()
    first = ["incremental", "incremental", "rescan"] if incremental else ["full"] * 3
    assert [disk.mode for disk in made.disks] == first
    go_on(csbs, server)
    csbs.ok("restore", made.id, "--yes", "--no-start")
    assert contents(server) == content


def test_a_command_that_looks_on_may_power_the_server_off(
    csbs: Shell, server: DomainServer, host: Host
) -> None:
    off = f"virsh -c {host.uri} destroy --graceful {server.name}"
    made = csbs.ok("backup", "create", server.name, "--name", "made", "--while-open", off)
    content = contents(server)

    assert modes(made) == ["full"] * 3
    assert made["read_bytes"] == (64 + 32 + 2 + 2) * MIB  # of vdc nobody knows what changed
    go_on(csbs, server)
    csbs.ok("restore", "made", "--yes", "--no-start")
    assert contents(server) == content


def test_a_killed_qemu_fails_the_backup_and_the_next_is_a_rescan(
    csbs: Shell, server: DomainServer
) -> None:
    csbs.ok("backup", "create", server.name)
    for disk in DISKS:
        server.write(disk.target, offset=0, size=disk.size_bytes, pattern=2)
    with pytest.raises(ServerPoweredOff, match=f"{server.name} was powered off .* bitmap"):
        back_up(csbs, server, "vdb", DomainServer.kill)
    after = csbs.ok("backup", "create", server.name, "--name", "after")
    content = contents(server)

    assert modes(after) == ["rescan"] * 3
    assert [each["status"] for each in csbs.ok("backup", "list")["backups"]] == [
        *("available", "error", "available")
    ]
    go_on(csbs, server)
    csbs.ok("restore", "after", "--yes", "--no-start")
    assert contents(server) == content
