"""Servers and disks, as libvirt and the image files describe them."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from csbs.blockio.qemu_img import ImageInfo, image_info
from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import DiskXml, DomainXml, parse_domain
from csbs.domain.errors import DriverFailed, HypervisorTimeout, ServerNotFound, ToolFailed
from csbs.domain.ids import ServerId
from csbs.domain.server import DiskDescription, ServerDescription, ServerRef, ServerState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """One domain, as libvirt tells it in one call."""

    state: ServerState
    active: bool
    autostart: bool
    definition_xml: str
    #: The domain as it is now.
    now: DomainXml

    @property
    def server(self) -> ServerRef:
        """Which server this is."""
        return ServerRef(ServerId(self.now.uuid), self.now.name)


def list_refs(connection: Connection) -> list[ServerRef]:
    """See `ComputeDriver.list_refs`."""
    refs = connection.call(
        "listing servers",
        lambda opened: [
            ServerRef(ServerId(each.UUIDString()), each.name()) for each in opened.listAllDomains()
        ],
    )
    return sorted(refs, key=lambda ref: (ref.name, ref.id))


def list_servers(connection: Connection) -> list[ServerDescription]:
    """See `ComputeDriver.list_servers`."""
    all_facts = connection.call(
        "listing servers",
        lambda opened: [
            facts for each in opened.listAllDomains() if (facts := _facts_or_none(each))
        ],
    )
    servers = [described(connection, facts) for facts in all_facts]
    return sorted(servers, key=lambda server: (server.name, server.id))


def facts_of(connection: Connection, server_id: ServerId) -> DomainFacts:
    """Raises `ServerNotFound`."""
    return connection.on_domain(server_id, "describing", _facts)


def described(connection: Connection, facts: DomainFacts) -> ServerDescription:
    """The server with its disks; an image that cannot be read has size 0, and its use will fail.

    A damaged image must not keep a server out of lists, nor a restore from mending it.
    """
    return ServerDescription(
        id=ServerId(facts.now.uuid),
        name=facts.now.name,
        state=facts.state,
        disks=tuple(_disk(connection, facts, disk) for disk in facts.now.disks),
        autostart=facts.autostart,
        definition_xml=facts.definition_xml,
        vcpus=facts.now.vcpus,
        memory_bytes=facts.now.memory_bytes,
    )


def takes_bitmaps(disk: DiskXml) -> bool:
    """Whether the image can hold a persistent bitmap: a qcow2 file of version 3."""
    return not disk.read_only and (info := _info(disk)) is not None and info.takes_bitmaps


def _facts(domain: libvirt.virDomain) -> DomainFacts:
    active = bool(domain.isActive())
    definition = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    return DomainFacts(
        state=_state(domain.state()[0], active=active),
        active=active,
        # Asking a transient domain would be an error.
        autostart=bool(domain.isPersistent() and domain.autostart()),
        definition_xml=definition,
        now=parse_domain(domain.XMLDesc(0) if active else definition),
    )


def _facts_or_none(domain: libvirt.virDomain) -> DomainFacts | None:
    """None if the domain was undefined since it was listed."""
    try:
        return _facts(domain)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _state(number: int, *, active: bool) -> ServerState:
    if not active:
        return ServerState.STOPPED
    return {
        libvirt.VIR_DOMAIN_RUNNING: ServerState.RUNNING,
        libvirt.VIR_DOMAIN_BLOCKED: ServerState.RUNNING,
        libvirt.VIR_DOMAIN_PAUSED: ServerState.PAUSED,
        libvirt.VIR_DOMAIN_CRASHED: ServerState.CRASHED,
    }.get(number, ServerState.OTHER)


def _disk(connection: Connection, facts: DomainFacts, disk: DiskXml) -> DiskDescription:
    missing = not facts.active and disk.source is not None and _is_missing(Path(disk.source))
    info = None if missing else _info(disk)
    return DiskDescription(
        target=disk.target,
        source=disk.source,
        format=disk.format,
        size_bytes=0 if missing else _size_bytes(connection, facts, disk, info),
        serial=disk.serial,
        wwn=disk.wwn,
        bootable=disk.bootable,
        shared=disk.shared,
        read_only=disk.read_only,
        missing=missing,
        trackable=info is not None and info.takes_bitmaps and not disk.read_only,
        image_identity=image_identity(disk.source, info),
        backing=info.backing if info else None,
    )


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it may be there: we are not let in
    return False


def _info(disk: DiskXml) -> ImageInfo | None:
    """What the image says of itself; None if it is no local file, or cannot be read."""
    if disk.source is None:
        return None
    try:
        return image_info(disk.source, image_format=disk.format)
    except ToolFailed as error:
        log.warning("an image cannot be read", extra={"image": disk.source, "why": error.why})
        return None


def image_identity(source: str | None, info: ImageInfo | None) -> str | None:
    """Inode and backing file of a regular file; nodes of devices get new inodes at each boot."""
    if source is None or info is None:
        return None
    try:
        status = Path(source).stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return f"{status.st_ino} on {info.backing}" if info.backing else str(status.st_ino)


def _size_bytes(
    connection: Connection, facts: DomainFacts, disk: DiskXml, info: ImageInfo | None
) -> int:
    # The file, not QEMU, is asked: QEMU 7.2 may abort when its images are queried in the moment in
    # which another csbs begins a backup.
    if disk.source is None or not os.access(disk.source, os.R_OK):
        return _size_by_libvirt(connection, facts.server.id, disk.target)
    # libvirt takes the length of a damaged file for its virtual size.
    return 0 if info is None else info.virtual_size_bytes


def _size_by_libvirt(connection: Connection, server_id: ServerId, target: str) -> int:
    try:
        return connection.on_domain(
            server_id, "asking for a size", lambda domain: domain.blockInfo(target)[0]
        )
    except (DriverFailed, HypervisorTimeout, ServerNotFound) as error:
        log.warning("a disk has no size", extra={"disk": target, "why": str(error)})
        return 0
