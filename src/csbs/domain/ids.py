"""Types of the identifiers that travel through csbs.

All are lower-case strings.  A server's id is the UUID of its libvirt domain (on the wire:
``resource_id``); the others are random UUIDs; a project's id has 32 hexadecimal digits.
"""

from __future__ import annotations

from typing import NewType

ProjectId = NewType("ProjectId", str)
ServerId = NewType("ServerId", str)
DiskId = NewType("DiskId", str)
BackupId = NewType("BackupId", str)
TaskId = NewType("TaskId", str)

#: One run that made backups: of a policy, or one by hand (on the wire: ``checkpoint``).
CheckpointId = NewType("CheckpointId", str)
PolicyId = NewType("PolicyId", str)

#: Name of a TrackingPoint: ``csbs-<backup id>``, unique for ever.  A name that came again would
#: let an old bitmap of a rolled-back image look valid.
TrackingName = NewType("TrackingName", str)

TRACKING_PREFIX = "csbs-"


def tracking_name(backup_id: BackupId) -> TrackingName:
    """Name of the TrackingPoint that begins at the instant of this backup."""
    return TrackingName(TRACKING_PREFIX + backup_id)
