"""Servers for tests on a real libvirt: domains without a guest system.

Their disks are written by QEMU's monitor (`qemu-io`), as a guest would, while they run, and by the
program `qemu-io` while they are stopped.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from csbs.blockio.processes import run_tool
from csbs.compute.libvirt.binding import libvirt, libvirt_qemu
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import qemu_owner
from csbs.domain.clock import NewId, Sleep
from csbs.domain.errors import DriverFailed, ServerNotFound
from csbs.domain.ids import ServerId
from csbs.testing.libvirt_daemon import URI

T = TypeVar("T")

PREFIX = "csbs-test-"
_TOOL_TIMEOUT_S = 60.0
_STOP_WAIT_S = 30.0
_POLL_INTERVAL_S = 0.05
#: Where disks are plugged in while the server runs.
_PORTS = "<controller type='pci' model='pcie-root'/>" + 8 * (
    "<controller type='pci' model='pcie-root-port'/>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDisk:
    """A disk to be made for a test server."""

    target: str
    size_bytes: int
    format: str = "qcow2"
    #: Of a qcow2 image; csbs and QEMU's bitmaps count in 64 KiB.
    cluster_size_bytes: int = 64 * 1024
    shareable: bool = False
    serial: str | None = None
    #: Where somebody else serves it over NBD; None: the server opens the image file itself.
    nbd_socket: Path | None = None


class DomainServer:
    """A server of a test, defined in libvirt."""

    def __init__(
        self,
        connection: Connection,
        server_id: ServerId,
        disks: Sequence[DomainDisk],
        *,
        sleep: Sleep,
    ) -> None:
        self.id = server_id
        self.name = PREFIX + server_id[:8]
        self.folder = Path("/var/lib") / self.name
        self._connection = connection
        #: By target.  Whoever adds a disk to the definition, or takes one away, does so here too.
        self.disks = {disk.target: disk for disk in disks}
        #: Images that lie elsewhere than at first, by target.
        self.moved: dict[str, Path] = {}
        self._sleep = sleep

    def path(self, target: str) -> Path:
        """The image of a disk."""
        return self.moved.get(target) or self.image(self.disks[target])

    def image(self, disk: DomainDisk) -> Path:
        """The image that was made for this disk, wherever it is attached now."""
        return self.folder / f"{disk.target}.{disk.format}"

    def redefine(self, disks: Mapping[str, DomainDisk]) -> None:
        """Attaches these disks, by their targets from now on, and no others; it must be stopped.

        Images that are not there are made.
        """
        self.disks = dict(disks)
        for target, disk in disks.items():
            if disk.nbd_socket is None and not self.path(target).exists():
                make_image(self.path(target), disk)
        xml = _domain_xml(self)
        self._connection.call("defining", lambda opened: opened.defineXML(xml))

    def start(self) -> None:
        """Starts QEMU; its processors run an empty machine."""
        self._on_domain("starting", lambda domain: domain.create())

    def pause(self) -> None:
        """Stops the processors."""
        self._on_domain("pausing", lambda domain: domain.suspend())

    def power_off(self) -> None:
        """Ends QEMU in good order, as a guest does that shuts down."""
        self._on_domain(
            "powering off", lambda domain: domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        )

    def kill(self) -> None:
        """Kills QEMU, as a power cut does, and waits until libvirt has noticed."""
        descriptor = os.pidfd_open(self._pid())
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            assert poller.poll(_STOP_WAIT_S * 1000), f"QEMU of {self.name} outlives its kill"
        finally:
            os.close(descriptor)
        self._wait_until(lambda: not self.is_active(), "libvirt has seen the end of QEMU")

    def end_unannounced(self) -> None:
        """QEMU ends in good order by itself; libvirt may notice later."""
        os.kill(self._pid(), signal.SIGTERM)

    def state(self) -> str:
        """``running``, ``paused`` or another number of libvirt's."""
        number = self._on_domain("looking at the state", lambda domain: domain.state()[0])
        names = {libvirt.VIR_DOMAIN_RUNNING: "running", libvirt.VIR_DOMAIN_PAUSED: "paused"}
        return names.get(number, str(number))

    def is_active(self) -> bool:
        """Whether QEMU runs."""
        return self._on_domain("looking at the state", lambda domain: bool(domain.isActive()))

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """Writes one byte value over a range, as the server itself would."""
        self.io(target, f"write -P {pattern} {offset} {size}")

    def zero(self, target: str, *, offset: int, size: int) -> None:
        """Writes zeroes without data, as a guest does that trims."""
        self.io(target, f"write -z {offset} {size}")

    def discard(self, target: str, *, offset: int, size: int) -> None:
        """Gives a range back: it takes no space any more.  In whole clusters it reads as zero."""
        self.io(target, f"discard {offset} {size}")

    def flush(self, target: str) -> None:
        """Writes out all that QEMU keeps of the disk: a kill loses nothing of it."""
        self.io(target, "flush")

    def content(self, target: str) -> bytes:
        """All bytes of a disk of a stopped server, read by `qemu-img`."""
        raw = self.folder / f"{target}.content"
        source = str(self.path(target))
        run_tool(
            [
                "qemu-img",
                "convert",
                "-f",
                self.disks[target].format,
                "-O",
                "raw",
                source,
                str(raw),
            ],
            doing=f"reading {source}",
            timeout_s=_TOOL_TIMEOUT_S,
        )
        content = raw.read_bytes()
        raw.unlink()
        return content

    def begin_job(self) -> None:
        """Begins a backup job that is not of csbs."""
        scratch = self.folder / "foreign.scratch"
        first, *others = self.disks
        rest = "".join(f"<disk name='{target}' backup='no'/>" for target in others)
        xml = (
            f"<domainbackup mode='pull'><server transport='unix' socket='{self.folder}/f.sock'/>"
            f"<disks><disk name='{first}' backup='yes' type='file'>"
            f"<scratch file='{scratch}'/></disk>{rest}</disks></domainbackup>"
        )
        self._on_domain("beginning a job", lambda domain: domain.backupBegin(xml, None))

    def end_job(self) -> None:
        """Ends it, and waits until it has ended."""
        self._on_domain("ending a job", lambda domain: domain.abortJob())
        self._wait_until(lambda: not self.has_job(), "the job has ended")

    def has_job(self) -> bool:
        """Whether any job runs on the domain."""
        return self._on_domain(
            "looking for jobs",
            lambda domain: bool(domain.isActive()) and domain.jobStats()["type"] != 0,
        )

    def checkpoints(self) -> list[str]:
        """Names of all checkpoints."""
        return self._on_domain(
            "listing checkpoints",
            lambda domain: [each.getName() for each in domain.listAllCheckpoints()],
        )

    def forget_checkpoints(self) -> None:
        """Removes libvirt's records of checkpoints; the bitmaps stay in the images."""
        self._on_domain("forgetting", _forget_checkpoints)

    def define(self) -> None:
        """Defines the domain, for the first time or after it was undefined."""
        self.redefine(self.disks)

    def can_be_undefined(self) -> bool:
        """Whether `virsh undefine` works; then the domain is gone."""
        try:
            self._on_domain("undefining", lambda domain: domain.undefineFlags(0))
        except DriverFailed:
            return False
        return True

    def remove(self) -> None:
        """Kills QEMU, undefines the domain and removes its files; may be repeated."""
        with suppress(DriverFailed):  # it does not run
            self._ignore_missing("killing", lambda domain: domain.destroyFlags())
        self._ignore_missing(
            "undefining",
            lambda domain: domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA),
        )
        shutil.rmtree(self.folder, ignore_errors=True)

    def virsh(self, verb: str, *arguments: str) -> str:
        """Runs `virsh VERB <this server> ARGUMENTS`, as an administrator does by hand."""
        return run_tool(
            ["virsh", "-c", URI, "-q", verb, self.name, *arguments],
            doing=f"virsh {verb}",
            timeout_s=_TOOL_TIMEOUT_S,
        )

    def io(self, target: str, *commands: str) -> None:
        """Carries out commands of `qemu-io` on a disk: by QEMU itself while it runs."""
        if not commands:
            return
        if self.is_active():
            self._on_domain("writing", lambda domain: _monitor_io(domain, target, commands))
            return
        arguments = [each for command in commands for each in ("-c", command)]
        run_tool(
            [
                *("qemu-io", "-f", self.disks[target].format, "-d", "unmap", *arguments),
                str(self.path(target)),
            ],
            doing=f"writing to {target}",
            timeout_s=_TOOL_TIMEOUT_S,
        )

    def _pid(self) -> int:
        return int(Path(f"/run/libvirt/qemu/{self.name}.pid").read_text(encoding="ascii"))

    def _ignore_missing(self, doing: str, function: Callable[[libvirt.virDomain], object]) -> None:
        with suppress(ServerNotFound):
            self._on_domain(doing, function)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(int(_STOP_WAIT_S / _POLL_INTERVAL_S)):
            if condition():
                return
            self._sleep(_POLL_INTERVAL_S)
        raise AssertionError(f"not within {_STOP_WAIT_S:g} s: {what}")

    def _on_domain(self, doing: str, function: Callable[[libvirt.virDomain], T]) -> T:
        return self._connection.on_domain(self.id, doing, function)


@contextmanager
def domain_server(
    disks: Sequence[DomainDisk], *, new_id: NewId, sleep: Sleep
) -> Iterator[DomainServer]:
    """A stopped server with new, empty disks; removed with all its files at the end."""
    connection = Connection(URI)
    server = DomainServer(connection, ServerId(new_id()), disks, sleep=sleep)
    server.folder.mkdir(mode=0o755)
    capabilities = connection.call(
        "asking for capabilities", lambda opened: opened.getCapabilities()
    )
    os.chown(server.folder, *qemu_owner(capabilities))
    try:
        server.define()
        yield server
    finally:
        server.remove()


def make_image(path: Path, disk: DomainDisk) -> None:
    """Makes the empty image of a disk."""
    clusters = f"cluster_size={disk.cluster_size_bytes}"
    options = ["-o", clusters] if disk.format == "qcow2" else []
    run_tool(
        ["qemu-img", "create", "-q", "-f", disk.format, *options, str(path), str(disk.size_bytes)],
        doing=f"making {path}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


def disk_xml(target: str, disk: DomainDisk, image: Path) -> str:
    """The `<disk>` of a definition; its discards reach the image."""
    kind, source = "file", f"<source file='{image}'/>"
    if disk.nbd_socket is not None:
        host = f"<host transport='unix' socket='{disk.nbd_socket}'/>"
        kind, source = "network", f"<source protocol='nbd' name=''>{host}</source>"
    return (
        f"<disk type='{kind}' device='disk'>"
        f"<driver name='qemu' type='{disk.format}' discard='unmap'/>{source}"
        f"<target dev='{target}' bus='virtio'/>"
        f"{f'<serial>{disk.serial}</serial>' if disk.serial else ''}"
        f"{'<shareable/>' if disk.shareable else ''}</disk>"
    )


def read_export(uri: str, folder: Path) -> bytes:
    """All bytes of an NBD export, read by `nbdcopy`."""
    copy = folder / "export.raw"
    run_tool(["nbdcopy", uri, str(copy)], doing=f"reading {uri}", timeout_s=_TOOL_TIMEOUT_S)
    content = copy.read_bytes()
    copy.unlink()
    return content


def dirty_ranges(uri: str, context: str) -> list[tuple[int, int]]:
    """(offset, size) of each dirty range of an export, by `nbdinfo`."""
    text = run_tool(
        ["nbdinfo", f"--map={context}", "--json", uri], doing="mapping", timeout_s=_TOOL_TIMEOUT_S
    )
    return [(each["offset"], each["length"]) for each in json.loads(text) if each["type"] & 1]


def write_export(uri: str, *, offset: int, size: int, pattern: int) -> None:
    """Writes one byte value over a range of an NBD export, and flushes it."""
    export_io(uri, f"write -P {pattern} {offset} {size}", "flush")


def export_io(uri: str, *commands: str) -> None:
    """Carries out commands of `qemu-io` on an NBD export."""
    arguments = [each for command in commands for each in ("-c", command)]
    run_tool(
        ["qemu-io", "-f", "raw", "-d", "unmap", *arguments, uri],
        doing=f"writing to {uri}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


def _forget_checkpoints(domain: libvirt.virDomain) -> None:
    for checkpoint in domain.listAllCheckpoints():
        checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


def _monitor_io(domain: libvirt.virDomain, target: str, commands: Sequence[str]) -> None:
    alias = _alias(domain.XMLDesc(0), target)
    for command in commands:
        text = f'qemu-io -d /machine/peripheral/{alias}/virtio-backend "{command}"'
        answer = libvirt_qemu.qemuMonitorCommand(
            domain, text, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        )
        assert "error" not in answer.lower(), answer


def _alias(xml: str, target: str) -> str:
    for disk in ET.fromstring(xml).findall("./devices/disk"):  # noqa: S314  libvirtd is trusted
        if disk.find(f"./target[@dev='{target}']") is not None:
            alias = disk.find("alias")
            assert alias is not None
            return alias.get("name", "")
    raise AssertionError(f"no disk {target}")


def _domain_xml(server: DomainServer) -> str:
    devices = "".join(
        disk_xml(target, disk, server.path(target)) for target, disk in server.disks.items()
    )
    return (
        f"<domain type='qemu'><name>{server.name}</name><uuid>{server.id}</uuid>"
        "<memory unit='MiB'>64</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
        f"{devices}<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
        f"{_PORTS}"
        "<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
    )
