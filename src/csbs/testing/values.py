"""Values for tests that need some backup, and do not care which."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from csbs.domain.backup import Backup, BackupState, DiskBackup, Mode
from csbs.domain.ids import BackupId, CheckpointId, DiskId, ProjectId, ServerId, TrackingName

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_backup(number: int, storage_bytes: Mapping[str, int]) -> Backup:
    """Backup `b<number>`, made that many hours after `START`.

    It is available and has a disk of one byte for each entry of `storage_bytes` (by disk id).
    """
    return Backup(
        id=BackupId(f"b{number}"),
        project_id=ProjectId("p"),
        server_id=ServerId("s"),
        server_name="web",
        name=f"b{number}",
        state=BackupState.AVAILABLE,
        created_at=START + timedelta(hours=number),
        manifest_key="k",
        tracking=TrackingName(f"csbs-b{number}"),
        checkpoint_id=CheckpointId(f"b{number}"),
        disks=tuple(
            DiskBackup(
                disk_id=DiskId(disk_id),
                target=disk_id,
                source=None,
                format="qcow2",
                size_bytes=1,
                bootable=False,
                mode=Mode.FULL,
                reason="",
                storage_bytes=disk_storage_bytes,
            )
            for disk_id, disk_storage_bytes in storage_bytes.items()
        ),
    )
