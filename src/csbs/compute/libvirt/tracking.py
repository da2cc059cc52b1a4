"""TrackingPoints on a host: libvirt's checkpoints, and the bitmaps behind them.

A checkpoint is a record of libvirt; on each disk that it covers it has a persistent bitmap of the
same name.  The two can part (QEMU was killed, an image made anew, a domain defined again), so
both are looked at:

    running    bitmaps as QEMU has them (query-named-block-nodes)
    stopped    bitmaps as the image files have them (qemu-img info)

libvirt neither makes nor deletes checkpoints of a stopped domain: there it is told of what
`qemu-img bitmap` did (redefined from XML, or metadata deleted).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from csbs.blockio.qemu_img import ImageBitmap, add_bitmap, image_info, remove_bitmap
from csbs.compute.base import DiskToWrite
from csbs.compute.libvirt.binding import libvirt, libvirt_qemu
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import (
    CheckpointXml,
    DiskXml,
    checkpoint_covering_only,
    parse_domain,
    redefined_checkpoint_xml,
)
from csbs.domain.clock import Clock, Sleep, sleep
from csbs.domain.errors import DriverFailed, ToolFailed, TrackingLost
from csbs.domain.ids import TRACKING_PREFIX, ServerId, TrackingName
from csbs.domain.server import ServerRef, TrackingFault, TrackingReport

log = logging.getLogger(__name__)

T = TypeVar("T")

#: libvirt (seen in 9.0) fails over one without a name while another call makes or deletes it.
_LISTINGS_MAX = 10
_LISTING_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bitmap:
    """One of our bitmaps on one disk."""

    target: str
    #: The block node of a running server.
    node: str
    name: TrackingName
    #: None: it is recording and consistent, and it will be kept when the server stops.
    fault: TrackingFault | None
    #: A job works with it.
    busy: bool


class Tracking:
    """TrackingPoints of all servers behind one connection."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def report(self, server_id: ServerId) -> TrackingReport:
        """See `ComputeDriver.tracking`.

        A bitmap without its checkpoint counts as broken: libvirt would refuse to use it.
        """
        checkpoints = self.checkpoints(server_id)
        usable: dict[str, set[TrackingName]] = {}
        broken: dict[str, dict[TrackingName, TrackingFault]] = {}
        for bitmap in self._bitmaps(server_id):
            fault = bitmap.fault
            if fault is None and bitmap.name not in checkpoints:
                fault = TrackingFault.NO_CHECKPOINT
            if bitmap.busy:
                continue
            if fault is None:
                usable.setdefault(bitmap.target, set()).add(bitmap.name)
            else:
                broken.setdefault(bitmap.target, {})[bitmap.name] = fault
        return TrackingReport(
            checkpoints=checkpoints,
            usable={target: frozenset(names) for target, names in usable.items()},
            broken=broken,
        )

    def checkpoints(self, server_id: ServerId) -> tuple[TrackingName, ...]:
        """Names of our checkpoints, oldest first."""
        return tuple(
            TrackingName(name)
            for name in self._on_domain(server_id, "listing checkpoints", checkpoint_names)
            if name.startswith(TRACKING_PREFIX)
        )

    def begin_stopped(
        self, server_id: ServerId, name: TrackingName, disks: Sequence[DiskXml]
    ) -> None:
        """Begins a TrackingPoint on these (qcow2) disks of a stopped server.

        Raises `DriverFailed`; then nothing is left behind.
        """
        try:
            for disk in disks:
                try:
                    add_bitmap(str(disk.source), name)
                except ToolFailed as error:
                    raise DriverFailed(server_id, disk.target, "tracking", error.why) from error
            self._on_domain(
                server_id,
                "redefining a checkpoint",
                lambda domain: self._redefine(domain, name, disks),
            )
        except BaseException:
            self.retire(server_id, [name])
            raise

    def require(self, server: ServerRef, asked: Sequence[tuple[str, TrackingName]]) -> None:
        """Raises `TrackingLost` if one of these disks (by target) lacks that usable bitmap."""
        usable = self.report(server.id).usable if asked else {}
        for target, name in asked:
            if name not in usable.get(target, frozenset()):
                raise TrackingLost(server.name, f"{target} has no usable bitmap {name}")

    def only_usable(self, server_id: ServerId, disks: Sequence[DiskToWrite]) -> list[DiskToWrite]:
        """The same disks, without a `since` that cannot be used."""
        asked = any(disk.since for disk in disks)
        usable = self.report(server_id).usable if asked else {}
        return [
            disk
            if disk.since in usable.get(disk.disk.target, frozenset())
            else replace(disk, since=None)
            for disk in disks
        ]

    def retire(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        """See `ComputeDriver.retire_tracking`."""
        assert all(name.startswith(TRACKING_PREFIX) for name in names), "only ours are deleted"
        if self._on_domain(server_id, "looking at the state", lambda domain: domain.isActive()):
            self._retire_running(server_id, names)
        else:
            self._retire_stopped(server_id, names)

    def _retire_running(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        for name in self.checkpoints(server_id):
            if name in names:
                held = {each.target for each in self._bitmaps(server_id) if each.name == name}
                self._on_domain(
                    server_id,
                    "deleting a checkpoint",
                    partial(_delete_checkpoint, name=name, held=held),
                )
        # Bitmaps that had no checkpoint, or that the checkpoint's deletion left out.
        for bitmap in list(self._bitmaps(server_id)):
            if bitmap.name in names:
                self._on_domain(
                    server_id, "removing a bitmap", partial(_remove_from_node, bitmap=bitmap)
                )

    def _retire_stopped(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        disks = {disk.target: disk for disk in self._disks(server_id)}
        for bitmap in list(self._bitmaps(server_id)):
            if bitmap.name in names:
                try:
                    remove_bitmap(str(disks[bitmap.target].source), bitmap.name)
                except ToolFailed as error:
                    raise DriverFailed(
                        server_id, bitmap.target, "removing a bitmap", error.why
                    ) from error
        for name in self.checkpoints(server_id):
            if name in names:
                self._on_domain(
                    server_id, "forgetting a checkpoint", partial(_forget_checkpoint, name=name)
                )

    def _redefine(
        self, domain: libvirt.virDomain, name: TrackingName, disks: Sequence[DiskXml]
    ) -> None:
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        parsed = parse_domain(xml)
        tracked = [disk.target for disk in disks]
        all_targets = [*(disk.target for disk in parsed.disks), *parsed.left_out]
        existing = checkpoint_names(domain)
        checkpoint = CheckpointXml(
            name=name,
            created_at_s=int(self._clock().timestamp()),
            # libvirt keeps them in a chain; the newest one is the parent of the next.
            parent=existing[-1] if existing else None,
            tracked=tracked,
            untracked=[target for target in all_targets if target not in tracked],
        )
        domain.checkpointCreateXML(
            redefined_checkpoint_xml(checkpoint, domain=xml),
            libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE,
        )

    def _bitmaps(self, server_id: ServerId) -> Iterator[_Bitmap]:
        nodes = self._on_domain(server_id, "asking QEMU for bitmaps", _block_nodes)
        for disk in self._disks(server_id):
            if nodes is None:
                yield from _bitmaps_in_file(disk)
            else:
                yield from _bitmaps_in_nodes(disk, nodes)

    def _disks(self, server_id: ServerId) -> tuple[DiskXml, ...]:
        xml = self._on_domain(server_id, "reading the definition", lambda domain: domain.XMLDesc(0))
        return parse_domain(xml).disks

    def _on_domain(
        self, server_id: ServerId, doing: str, function: Callable[[libvirt.virDomain], T]
    ) -> T:
        return self._connection.on_domain(server_id, doing, function)


def checkpoint_names(domain: libvirt.virDomain, sleep: Sleep = sleep) -> list[str]:
    """Oldest first: parents come before their children.  Raises `libvirt.libvirtError`."""
    for left in reversed(range(_LISTINGS_MAX)):
        try:
            found = domain.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
        except libvirt.libvirtError as error:
            if not left or error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                raise
            sleep(_LISTING_INTERVAL_S)
        else:
            return [checkpoint.getName() for checkpoint in found]
    raise AssertionError("the last listing returns or raises")


def _delete_checkpoint(
    domain: libvirt.virDomain, name: TrackingName, held: Collection[str]
) -> None:
    """Deletes a checkpoint with its bitmaps; `held` are the disks that have the bitmap."""
    checkpoint = domain.checkpointLookupByName(name)
    try:
        checkpoint.delete(0)
    except libvirt.libvirtError as error:
        log.info("a checkpoint is deleted piecemeal", extra={"checkpoint": name, "why": str(error)})
    else:
        return
    # Refused, since a disk of it is gone or has lost the bitmap: without that disk it works.
    xml = checkpoint_covering_only(checkpoint.getXMLDesc(0), held)
    checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    if held:
        redefined = domain.checkpointCreateXML(xml, libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)
        redefined.delete(0)


def _forget_checkpoint(domain: libvirt.virDomain, name: TrackingName) -> None:
    checkpoint = domain.checkpointLookupByName(name)
    checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


def _remove_from_node(domain: libvirt.virDomain, bitmap: _Bitmap) -> None:
    arguments = {"node": bitmap.node, "name": bitmap.name}
    _ask_qemu(domain, "block-dirty-bitmap-remove", arguments)


def _block_nodes(domain: libvirt.virDomain) -> list[dict[str, Any]] | None:
    """QEMU's block nodes; None if the server does not run."""
    if not domain.isActive():
        return None
    nodes: list[dict[str, Any]] = _ask_qemu(domain, "query-named-block-nodes", {"flat": True})
    return nodes


def _ask_qemu(domain: libvirt.virDomain, command: str, arguments: dict[str, Any]) -> Any:
    text = json.dumps({"execute": command, "arguments": arguments})
    flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, text, flags))
    if "error" in answer:
        raise DriverFailed(domain.UUIDString(), "", command, str(answer["error"].get("desc")))
    return answer["return"]


def _bitmaps_in_nodes(disk: DiskXml, nodes: Sequence[dict[str, Any]]) -> Iterator[_Bitmap]:
    for node in nodes:
        if node["node-name"] != disk.node:
            continue
        for bitmap in node.get("dirty-bitmaps", []):
            name = bitmap.get("name", "")
            if name.startswith(TRACKING_PREFIX):
                yield _Bitmap(
                    target=disk.target,
                    node=node["node-name"],
                    name=TrackingName(name),
                    fault=_fault_in_node(bitmap),
                    busy=bitmap["busy"],
                )


def _bitmaps_in_file(disk: DiskXml) -> Iterator[_Bitmap]:
    if disk.source is None or disk.format != "qcow2":
        return
    try:
        info = image_info(disk.source, image_format=disk.format)
    except ToolFailed as error:
        # Missing or damaged: whoever opens it says so; there is no bitmap to be had.
        log.info("no bitmaps were read", extra={"image": disk.source, "why": error.why})
        return
    for bitmap in info.bitmaps:
        if bitmap.name.startswith(TRACKING_PREFIX):
            yield _Bitmap(
                target=disk.target,
                node="",
                name=TrackingName(bitmap.name),
                fault=_fault_in_file(bitmap),
                busy=False,
            )


def _fault_in_node(bitmap: dict[str, Any]) -> TrackingFault | None:
    if bitmap.get("inconsistent", False):
        return TrackingFault.NOT_CLOSED
    if not bitmap["recording"]:
        return TrackingFault.SWITCHED_OFF
    return None if bitmap["persistent"] else TrackingFault.NOT_KEPT


def _fault_in_file(bitmap: ImageBitmap) -> TrackingFault | None:
    if bitmap.in_use:
        return TrackingFault.NOT_CLOSED
    return None if bitmap.recording else TrackingFault.SWITCHED_OFF
