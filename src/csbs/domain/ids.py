"""Types of the identifiers that travel through csbs.

All are lower-case strings.  A server's id is the UUID of its libvirt domain (on the wire:
``resource_id``); the others are random UUIDs; a project's id has 32 hexadecimal digits.
"""

from __future__ import annotations

from typing import NewType
from uuid import UUID, uuid5

ProjectId = NewType("ProjectId", str)
ServerId = NewType("ServerId", str)
DiskId = NewType("DiskId", str)
BackupId = NewType("BackupId", str)
TaskId = NewType("TaskId", str)

#: One run that made backups: of a policy, or one by hand (on the wire: ``checkpoint``).
CheckpointId = NewType("CheckpointId", str)
PolicyId = NewType("PolicyId", str)

#: What two ids make a third of, the same for ever.
_DISK_BACKUPS = UUID("6d1f8a52-70b3-4f1e-9c46-5b8f0e7d2a31")

#: Name of a TrackingPoint: ``csbs-<backup id>``, unique for ever.  A name that came again would
#: let an old bitmap of a rolled-back image look valid.
TrackingName = NewType("TrackingName", str)

TRACKING_PREFIX = "csbs-"


def tracking_name(backup_id: BackupId) -> TrackingName:
    """Name of the TrackingPoint that begins at the instant of this backup."""
    return TrackingName(TRACKING_PREFIX + backup_id)


def disk_backup_id(backup_id: BackupId, disk_id: DiskId) -> str:
    """The id of a disk's part of a backup; needs no place to be kept in."""
    return str(uuid5(_DISK_BACKUPS, f"{backup_id}/{disk_id}"))
