"""libvirt's XML, read and made: pure functions of text."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csbs.domain.ids import TrackingName

# Else the names of QEMU's own elements would be written with another prefix, which libvirt takes,
# and people do not recognize.
ET.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")

#: Devices that are disks; CD-ROMs and floppies hold nothing of the server.
_DISK_DEVICES = frozenset({"disk", "lun"})
#: Attribute of `<source>` that holds the path, by type of the disk; other types have none.
_SOURCE_ATTRIBUTE = {"file": "file", "block": "dev"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskXml:
    """One disk, as the domain's XML has it."""

    target: str
    source: str | None
    format: str
    serial: str | None = None
    wwn: str | None = None
    bootable: bool = False
    shared: bool = False
    read_only: bool = False
    #: Name of QEMU's block node that holds the bitmaps; None for stopped domains.
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainXml:
    """What csbs needs of a domain's XML."""

    uuid: str
    name: str
    disks: tuple[DiskXml, ...]
    #: Targets of CD-ROMs and floppies.
    left_out: tuple[str, ...]
    #: The guest agent has a channel.
    has_agent: bool
    vcpus: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDisk:
    """One disk of a pull-mode backup."""

    target: str
    #: Where QEMU keeps what the server overwrites meanwhile.
    scratch: Path
    #: None: full.
    since: TrackingName | None
    #: The new checkpoint covers it.
    tracked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointXml:
    """A checkpoint that is redefined: which disks it covers, and when it was made."""

    name: TrackingName
    created_at_s: int
    parent: str | None
    tracked: Collection[str]
    untracked: Collection[str]


def parse_domain(xml: str) -> DomainXml:
    """Reads a domain's XML, of a running or a stopped domain."""
    root = _parse(xml)
    devices = root.findall("./devices/disk")
    elements = [each for each in devices if each.get("device", "disk") in _DISK_DEVICES]
    boot = _boot_target(elements)
    return DomainXml(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        disks=tuple(_disk(each, bootable=_target(each) == boot) for each in elements),
        left_out=tuple(_target(each) for each in devices if each not in elements),
        has_agent=any(
            each.get("name") == "org.qemu.guest_agent.0"
            for each in root.findall("./devices/channel/target")
        ),
        vcpus=_vcpus(root),
        # libvirt always answers in KiB, whatever unit was given to it.
        memory_bytes=_number(root.findtext("memory")) * 1024,
    )


def definition_with(xml: str, images: Mapping[str, Path], *, image_format: str) -> str:
    """The definition, with these files as the images of its disks, by target.

    All else stays, and so do disks that are not named.
    """
    root = _parse(xml)
    for disk in root.findall("./devices/disk"):
        path = images.get(_target(disk))
        if path is None:
            continue
        disk.set("type", "file")
        if disk.get("device") == "lun":  # passes SCSI commands through, which no file takes
            disk.set("device", "disk")
        for gone in ("rawio", "sgio"):
            disk.attrib.pop(gone, None)
        driver = disk.find("driver")
        if driver is None:
            driver = ET.SubElement(disk, "driver", name="qemu")
        driver.set("type", image_format)
        for name in ("source", "backingStore", "mirror", "encryption"):
            for element in disk.findall(name):
                disk.remove(element)
        ET.SubElement(disk, "source", file=str(path))
    return _text(root)


def backup_xml(socket: Path, disks: Sequence[BackupDisk], *, left_out: Collection[str]) -> str:
    """`<domainbackup>` of a pull-mode job; exports bear the disks' targets."""
    root = ET.Element("domainbackup", mode="pull")
    ET.SubElement(root, "server", transport="unix", socket=str(socket))
    container = ET.SubElement(root, "disks")
    for disk in disks:
        element = ET.SubElement(
            container, "disk", name=disk.target, backup="yes", type="file", exportname=disk.target
        )
        if disk.since is None:
            element.set("backupmode", "full")
        else:
            element.set("backupmode", "incremental")
            element.set("incremental", disk.since)
            element.set("exportbitmap", export_bitmap(disk.target))
        ET.SubElement(element, "driver", type="qcow2")
        ET.SubElement(element, "scratch", file=str(disk.scratch))
    for target in left_out:
        ET.SubElement(container, "disk", name=target, backup="no")
    return _text(root)


def export_bitmap(target: str) -> str:
    """Name of the bitmap that a running server's export offers."""
    return f"backup-{target}"


def checkpoint_xml(
    name: TrackingName, *, tracked: Collection[str], untracked: Collection[str]
) -> str:
    """`<domaincheckpoint>` that begins with a backup."""
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    _add_checkpoint_disks(root, None, tracked, untracked)
    return _text(root)


def redefined_checkpoint_xml(checkpoint: CheckpointXml, *, domain: str) -> str:
    """`<domaincheckpoint>` of one whose bitmaps are in the images already."""
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = checkpoint.name
    if checkpoint.parent is not None:
        ET.SubElement(ET.SubElement(root, "parent"), "name").text = checkpoint.parent
    ET.SubElement(root, "creationTime").text = str(checkpoint.created_at_s)
    _add_checkpoint_disks(root, checkpoint.name, checkpoint.tracked, checkpoint.untracked)
    root.append(_parse(domain))
    return _text(root)


def checkpoint_covering_only(xml: str, targets: Collection[str]) -> str:
    """The same checkpoint, without the bitmaps of all other disks."""
    root = _parse(xml)
    for disk in root.findall("./disks/disk"):
        if disk.get("name") not in targets:
            disk.set("checkpoint", "no")
            disk.attrib.pop("bitmap", None)
    return _text(root)


def job_socket(xml: str) -> str | None:
    """The unix socket of a backup job, from its `<domainbackup>`."""
    server = _parse(xml).find("server")
    return None if server is None else server.get("socket")


def qemu_owner(capabilities: str) -> tuple[int, int]:
    """User and group that QEMU runs as, from the host's `<capabilities>`; root if it says none."""
    for model in _parse(capabilities).findall("./host/secmodel"):
        if model.findtext("model") == "dac":
            label = model.findtext("./baselabel[@type='qemu']", "")
            user, _, group = label.partition(":")
            if user.startswith("+") and group.startswith("+"):
                return int(user), int(group)
    return 0, 0


def has_incremental_backup(capabilities: str) -> bool:
    """Whether libvirt can back up increments, from a `<domainCapabilities>`."""
    return _parse(capabilities).find("./features/backup[@supported='yes']") is not None


def _vcpus(root: ET.Element) -> int:
    """How many it has; more may be allowed to be plugged in."""
    element = root.find("vcpu")
    return 0 if element is None else _number(element.get("current") or element.text)


def _number(text: str | None) -> int:
    return int(text) if text and text.strip().isdecimal() else 0


def _parse(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314  libvirtd is trusted: it runs as root on this host


def _text(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")


def _add_checkpoint_disks(
    root: ET.Element,
    bitmap: TrackingName | None,
    tracked: Collection[str],
    untracked: Collection[str],
) -> None:
    container = ET.SubElement(root, "disks")
    for target in tracked:
        element = ET.SubElement(container, "disk", name=target, checkpoint="bitmap")
        if bitmap is not None:
            element.set("bitmap", bitmap)
    for target in untracked:
        ET.SubElement(container, "disk", name=target, checkpoint="no")


def _disk(element: ET.Element, *, bootable: bool) -> DiskXml:
    source = element.find("source")
    driver = element.find("driver")
    attribute = _SOURCE_ATTRIBUTE.get(element.get("type", ""), "")
    index = None if source is None else source.get("index")
    return DiskXml(
        target=_target(element),
        source=None if source is None else source.get(attribute),
        format="raw" if driver is None else driver.get("type", "raw"),
        serial=element.findtext("serial"),
        wwn=element.findtext("wwn"),
        bootable=bootable,
        shared=element.find("shareable") is not None,
        read_only=element.find("readonly") is not None,
        node=None if index is None else f"libvirt-{index}-format",
    )


def _target(element: ET.Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def _boot_target(elements: Sequence[ET.Element]) -> str | None:
    ordered = sorted(_boot_orders(elements))
    if ordered:
        return ordered[0][1]
    return _target(elements[0]) if elements else None


def _boot_orders(elements: Sequence[ET.Element]) -> Iterator[tuple[int, str]]:
    for element in elements:
        boot = element.find("boot")
        if boot is not None:
            yield int(boot.get("order", "0")), _target(element)
