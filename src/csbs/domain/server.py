"""A server and its disks, as the host describes them at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from csbs.domain.ids import ServerId, TrackingName


@dataclass(frozen=True, slots=True)
class ServerRef:
    """Which server is meant: its id for machines, its name for people."""

    id: ServerId
    name: str


class ServerState(StrEnum):
    """What a server is doing; anything else than running and stopped is passing or paused."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDescription:
    """One block device of a server (CD-ROMs and floppies are none)."""

    #: Name of the device in the domain's XML, such as ``vda``.  It alone never tells which disk
    #: this is: disks are found again by `csbs.domain.identity`.
    target: str
    #: Path of the image file or block device; None for network sources, which cannot be opened
    #: while the server is stopped.
    source: str | None
    #: ``qcow2``, ``raw`` or what libvirt says.
    format: str
    #: Virtual size, as the server sees it.  0 where the file is missing (see `missing`).
    size_bytes: int
    serial: str | None = None
    wwn: str | None = None
    #: First in boot order, or the first disk where no order is given.
    bootable: bool = False
    shared: bool = False
    read_only: bool = False
    #: The image file does not exist (stopped servers).
    missing: bool = False
    #: The image can hold a persistent bitmap (qcow2 of version 3).
    trackable: bool = False
    #: Tells this file from others that were put in its place: all images of a server carry bitmaps
    #: of the same names.  None where nothing tells.
    image_identity: str | None = None
    #: Path of the image below this one, as an external snapshot leaves it.
    backing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDescription:
    """A server with its disks, in the order of the domain's XML."""

    id: ServerId
    name: str
    state: ServerState
    disks: tuple[DiskDescription, ...]
    autostart: bool
    #: The inactive domain XML: what is needed to define the server again.
    definition_xml: str
    #: What it may use at most while it runs; 0 where nothing tells.
    vcpus: int = 0
    memory_bytes: int = 0

    def disk(self, target: str) -> DiskDescription | None:
        """The disk with this target, if there is one."""
        return next((disk for disk in self.disks if disk.target == target), None)


class TrackingFault(StrEnum):
    """Why a bitmap that is there cannot be used, in words for people."""

    NOT_CLOSED = "the server was not shut down cleanly"
    SWITCHED_OFF = "somebody switched its bitmap off"
    NOT_KEPT = "its bitmap is not kept when the server stops"
    NO_CHECKPOINT = "somebody deleted its checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingReport:
    """Which of our TrackingPoints the host still holds for a server."""

    #: Names of our libvirt checkpoints, oldest first.
    checkpoints: tuple[TrackingName, ...]
    #: By target: names of our bitmaps that are there, recording and consistent.
    usable: dict[str, frozenset[TrackingName]]
    #: By target: names of our bitmaps that are there and cannot be used, and why.
    broken: dict[str, dict[TrackingName, TrackingFault]]
