"""What administrators do to a test server past csbs, by virsh, qemu-img and the monitor."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csbs.blockio.processes import ProcessRecord, end_process, run_tool
from csbs.blockio.qemu_img import remove_bitmap
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.domain.clock import sleep
from csbs.testing.libvirt_domains import DomainDisk, DomainServer, disk_xml, make_image

_TOOL_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.02


def resize(server: DomainServer, target: str, size_bytes: int) -> None:
    """Gives a disk another size: by `virsh blockresize` while it runs, else by `qemu-img`."""
    if server.is_active():
        server.virsh("blockresize", target, f"{size_bytes}B")
        return
    run_tool(
        [
            *("qemu-img", "resize", "-q", "--shrink", "-f", server.disks[target].format),
            *(str(server.path(target)), str(size_bytes)),
        ],
        doing=f"resizing {target}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


def remove_tracking(server: DomainServer, target: str, name: str) -> None:
    """Removes one bitmap, and leaves the checkpoint."""
    if server.is_active():
        _on_bitmap(server, "block-dirty-bitmap-remove", target, name)
    else:
        remove_bitmap(server.path(target), name)


def switch_tracking_off(server: DomainServer, target: str, name: str) -> None:
    """Lets one bitmap record no more."""
    if server.is_active():
        _on_bitmap(server, "block-dirty-bitmap-disable", target, name)
        return
    run_tool(
        ["qemu-img", "bitmap", "--disable", "-f", "qcow2", str(server.path(target)), name],
        doing=f"switching off a bitmap of {target}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


def snapshot(server: DomainServer, *targets: str) -> None:
    """An external snapshot: from now on these disks are new images on top of the former ones."""
    overlays = {target: server.folder / f"{target}.snapshot" for target in targets}
    places = [
        f"{target},file={overlays[target]}" if target in overlays else f"{target},snapshot=no"
        for target in (*server.disks, "sda")
    ]
    server.virsh(
        "snapshot-create-as",
        *("--disk-only", "--no-metadata", "--atomic"),
        *(each for place in places for each in ("--diskspec", place)),
    )
    server.moved.update(overlays)


def commit_snapshot(server: DomainServer, target: str) -> None:
    """Writes the newest image into the one below, and goes on with that one."""
    server.virsh("blockcommit", target, "--active", "--pivot", "--wait")
    server.moved.pop(target).unlink()


def add_disk(server: DomainServer, disk: DomainDisk) -> None:
    """Plugs in a new, empty disk, for good."""
    server.disks[disk.target] = disk
    image = server.path(disk.target)
    make_image(image, disk)
    take_over(server, image)
    _attach(server, disk)


def remove_disk(server: DomainServer, target: str) -> None:
    """Takes a disk from a stopped server; its image stays."""
    server.virsh("detach-disk", target, "--config")
    del server.disks[target]


def replace_image(server: DomainServer, target: str, image: Path) -> None:
    """Moves a stopped server's disk to another image, under the same target."""
    disk = server.disks[target]
    remove_disk(server, target)
    server.disks[target] = disk
    server.moved[target] = image
    take_over(server, image)
    _attach(server, disk)


@contextmanager
def served(server: DomainServer, target: str) -> Iterator[str]:
    """A stopped server's disk, writable over NBD during the body; yields its URI."""
    image = NbdImage(
        path=str(server.path(target)),
        format=server.disks[target].format,
        export=target,
        read_only=False,
    )
    with start_qemu_nbd(image, socket=server.folder / f"{target}.sock", pid_file=None) as nbd:
        yield nbd.uri


@contextmanager
def failing_image(image: Path, socket: Path) -> Iterator[Path]:
    """Serves an image by nbdkit, on a socket for QEMU.

    Yields the path of a file: while it is there, each read fails.
    """
    trigger, pid_file = socket.with_suffix(".fail"), socket.with_suffix(".pid")
    run_tool(
        [
            *("nbdkit", "--unix", str(socket), "--pidfile", str(pid_file), "--filter=error"),
            *("file", str(image), "error-pread-rate=100%", f"error-file={trigger}"),
        ],
        doing=f"serving {image}",
        timeout_s=_TOOL_TIMEOUT_S,
    )
    record = ProcessRecord.of(_pid_in(pid_file))
    assert record is not None, "nbdkit has ended"
    socket.chmod(0o666)  # QEMU is another user
    try:
        yield trigger
    finally:
        end_process(record, timeout_s=_TOOL_TIMEOUT_S)


def kill_qemu_nbd(folder: Path) -> int:
    """Kills the qemu-nbd processes that are recorded below the folder; returns how many those were.

    They are gone when it returns.
    """
    records = [ProcessRecord.read(path, program="qemu-nbd") for path in folder.rglob("*.pid")]
    living = [each for each in records if each is not None and each.is_alive()]
    for each in living:
        descriptor = os.pidfd_open(each.pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            assert poller.poll(_TOOL_TIMEOUT_S * 1000), f"process {each.pid} outlives its kill"
        finally:
            os.close(descriptor)
    return len(living)


def _pid_in(pid_file: Path) -> int:
    """Nbdkit writes it as soon as it can be connected to, behind our back."""
    for _ in range(int(_TOOL_TIMEOUT_S / _POLL_INTERVAL_S)):
        if pid_file.exists() and pid_file.stat().st_size:
            return int(pid_file.read_text(encoding="ascii"))
        sleep(_POLL_INTERVAL_S)
    raise AssertionError(f"no {pid_file} within {_TOOL_TIMEOUT_S:g} s")


def _on_bitmap(server: DomainServer, command: str, target: str, name: str) -> None:
    image = str(server.path(target))
    nodes = _ask_qemu(server, "query-named-block-nodes", {"flat": True})
    [node] = [
        each["node-name"] for each in nodes if (each["file"], each["drv"]) == (image, "qcow2")
    ]
    _ask_qemu(server, command, {"node": node, "name": name})


def _ask_qemu(server: DomainServer, command: str, arguments: dict[str, Any]) -> Any:
    request = json.dumps({"execute": command, "arguments": arguments})
    answer = json.loads(server.virsh("qemu-monitor-command", request))
    assert "error" not in answer, answer
    return answer["return"]


def _attach(server: DomainServer, disk: DomainDisk) -> None:
    definition = server.folder / "disk.xml"
    definition.write_text(disk_xml(disk.target, disk, server.path(disk.target)), encoding="ascii")
    live = ["--live"] if server.is_active() else []
    server.virsh("attach-device", str(definition), "--config", *live)


def take_over(server: DomainServer, image: Path) -> None:
    """Lets QEMU open an image."""
    owner = server.folder.stat()
    shutil.chown(image, owner.st_uid, owner.st_gid)
