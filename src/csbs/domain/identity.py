"""Which disk is which: finding the disks of former backups again among those a server has now.

libvirt's disks have no UUID, so csbs gives each a random id at first sight.  A disk is found
again by the strongest of these that names exactly one, and the target name alone never counts:

    serial    its serial number or WWN                                    trusted
    tracking  its path, and in the image the bitmap of its last backup    trusted if the size is too
    snapshot  its image lies below the disk's image (an external
              snapshot was taken), or was the one above it (committed)    rescan
    moved     that bitmap in an image at a new path, the same size,
              and it is the only disk of that size that lost its path     rescan
    path      its path and its size, without the bitmap                   rescan
              (a missing file has no size: its path alone says which disk it was)

All disks of a server carry bitmaps of the same names, so a bitmap alone names no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from csbs.domain.ids import DiskId, TrackingName
from csbs.domain.server import DiskDescription


class FoundBy(StrEnum):
    """What told that a disk is a known one."""

    SERIAL = "serial"
    TRACKING = "tracking"
    MOVED = "moved"
    PATH = "path"
    #: Not known before.
    NEW = "new"
    #: Not known before: the disk that was at its path had another size, and nothing else tells.
    NEW_SIZE = "new size"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDisk:
    """A disk as the catalog remembers it; `tracking` is the TrackingPoint of its last backup."""

    id: DiskId
    target: str
    source: str | None
    size_bytes: int
    serial: str | None = None
    wwn: str | None = None
    #: The image below its image.
    backing: str | None = None
    tracking: TrackingName | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A disk of the server, and the known disk that it is; None: it is new."""

    disk: DiskDescription
    known: KnownDisk | None
    found_by: FoundBy


_Same = Callable[[KnownDisk, DiskDescription], bool]


def match_disks(
    known: Iterable[KnownDisk],
    disks: Sequence[DiskDescription],
    bitmaps: Mapping[str, frozenset[TrackingName]],
) -> list[Match]:
    """One match for each of `disks`, in their order.

    `bitmaps` has by target the names of all our bitmaps in the image, broken ones too: a bitmap
    that a crash broke still says whose image it is.
    """

    def has_bitmap(disk: KnownDisk, seen: DiskDescription) -> bool:
        return disk.tracking is not None and disk.tracking in bitmaps.get(seen.target, frozenset())

    left = {disk.id: disk for disk in known}
    paths = {disk.source for disk in disks if disk.source is not None}
    found: dict[str, Match] = {}

    def lost_its_path(disk: KnownDisk) -> bool:
        return disk.source not in paths

    rules: list[tuple[FoundBy, _Same]] = [
        (FoundBy.SERIAL, _same_serial),
        (FoundBy.TRACKING, lambda a, b: _same_path(a, b) and has_bitmap(a, b)),
        (FoundBy.MOVED, lambda a, b: lost_its_path(a) and _same_size(a, b) and _one_chain(a, b)),
        (
            FoundBy.MOVED,
            lambda a, b: lost_its_path(a) and a.size_bytes == b.size_bytes and has_bitmap(a, b),
        ),
        (FoundBy.PATH, lambda a, b: _same_path(a, b) and _same_size(a, b)),
    ]
    for found_by, same in rules:
        open_disks = [disk for disk in disks if disk.target not in found]
        for disk in open_disks:
            candidates = [each for each in left.values() if same(each, disk)]
            rivals = [each for each in open_disks if candidates and same(candidates[0], each)]
            if len(candidates) == 1 and len(rivals) == 1:
                found[disk.target] = Match(disk, left.pop(candidates[0].id), found_by)
    return [found.get(disk.target) or _new(disk, left.values()) for disk in disks]


def _new(disk: DiskDescription, left: Iterable[KnownDisk]) -> Match:
    other = any(_same_path(each, disk) and not _same_size(each, disk) for each in left)
    return Match(disk, None, FoundBy.NEW_SIZE if other else FoundBy.NEW)


def _same_serial(known: KnownDisk, disk: DiskDescription) -> bool:
    if known.wwn is not None and disk.wwn is not None:
        return known.wwn == disk.wwn
    return known.serial is not None and known.serial == disk.serial


def _same_path(known: KnownDisk, disk: DiskDescription) -> bool:
    return known.source is not None and known.source == disk.source


def _one_chain(known: KnownDisk, disk: DiskDescription) -> bool:
    """One image lies right above the other."""
    return (disk.backing is not None and disk.backing == known.source) or (
        known.backing is not None and known.backing == disk.source
    )


def _same_size(known: KnownDisk, disk: DiskDescription) -> bool:
    return disk.missing or known.size_bytes == disk.size_bytes
