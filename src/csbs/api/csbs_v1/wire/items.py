"""A backup as `checkpoint_item`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from csbs.api.csbs_v1.wire.causes import cause
from csbs.api.csbs_v1.wire.codes import code_of
from csbs.api.csbs_v1.wire.times import time_text
from csbs.api.csbs_v1.wire.words import GIB, MIB, SERVER_TYPE, rounded_up
from csbs.domain.backup import Backup, BackupState, DiskBackup, Mode
from csbs.domain.ids import disk_backup_id
from csbs.domain.tags import Tag
from csbs.domain.task import Task

_KB = 1024
_DONE = frozenset({BackupState.AVAILABLE, BackupState.RESTORING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A backup, and what is known beside it."""

    backup: Backup
    #: The newest task about it; None where tasks were deleted.
    task: Task | None
    tags: tuple[Tag, ...] = ()
    #: Name of the region, which is its only availability zone.
    region: str = ""


def item_body(item: Item) -> dict[str, Any]:
    """The object."""
    backup = item.backup
    return {
        "id": backup.id,
        "checkpoint_id": backup.checkpoint_id,
        "name": backup.name,
        "description": backup.description,
        "status": backup.state.value,
        "resource_id": backup.server_id,
        "resource_type": SERVER_TYPE,
        "created_at": time_text(backup.created_at),
        "updated_at": time_text(updated_at(item)),
        "protected_at": time_text(backup.created_at),
        "expired_at": None,
        "tags": tags_body(item.tags),
        "backup_data": _backup_data(backup),
        "extend_info": _extend_info(item),
    }


def tags_body(tags: Iterable[Tag]) -> list[dict[str, str]]:
    """Tags as a list of keys with a value each."""
    return [{"key": tag.key, "value": tag.value} for tag in tags]


def updated_at(item: Item) -> Any:
    """The last moment at which something is known to have changed."""
    backup, task = item.backup, item.task
    moments = [backup.created_at, backup.finished_at]
    if task is not None:
        moments += [task.started_at, task.ended_at]
    return max(moment for moment in moments if moment is not None)


def _backup_data(backup: Backup) -> dict[str, Any]:
    """What clients call the server's metadata; strict ones want numbers to be numbers."""
    return {
        "__openstack_region_name": "",
        "cloudservicetype": "QEMU",
        "disk": 0,
        "eip": "",
        "imagetype": "",
        "private_ip": "",
        "ram": rounded_up(backup.memory_bytes, MIB),
        "vcpus": backup.vcpus,
    }


def _extend_info(item: Item) -> dict[str, Any]:
    backup = item.backup
    return {
        "auto_trigger": backup.auto_trigger,
        "average_speed": _speed(backup) // _KB,
        "copy_from": "",
        "copy_status": "na",
        "fail_code": _fail_code(backup),
        "fail_op": backup.fail_op.value if backup.fail_op else "",
        "fail_reason": _fail_reason(backup),
        "finished_at": time_text(backup.finished_at),
        "hypervisor_type": "QEMU",
        "image_type": "backup",
        "incremental": _is_incremental(backup),
        "os_images_data": [],
        "progress": progress(item),
        "resource_az": item.region,
        "resource_name": backup.server_name,
        "resource_type": SERVER_TYPE,
        "size": rounded_up(backup.changed_bytes, MIB),
        "space_saving_ratio": _saved_percent(backup),
        "support_lld": False,
        "supported_restore_mode": "backup" if backup.state in _DONE else "na",
        "taskid": item.task.id if item.task else "",
        "volume_backups": [_volume_backup(backup, disk) for disk in backup.disks],
        **_consistency(backup),
    }


def _volume_backup(backup: Backup, disk: DiskBackup) -> dict[str, Any]:
    return {
        "id": disk_backup_id(backup.id, disk.disk_id),
        "name": f"{backup.name}_{disk.target}",
        "status": _disk_status(backup),
        "bootable": disk.bootable,
        "incremental": disk.mode is not Mode.FULL,
        "image_type": "backup",
        "size": rounded_up(disk.changed_bytes or 0, MIB),
        "source_volume_id": disk.disk_id,
        "source_volume_name": disk.target,
        "source_volume_size": rounded_up(disk.size_bytes, GIB),
        "snapshot_id": backup.tracking,
        "space_saving_ratio": _saved_percent(backup),
        "average_speed": _speed(backup) // MIB,
    }


def _disk_status(backup: Backup) -> str:
    # The words of VBS, which has one more for what is being made.
    return "creating" if backup.state is BackupState.PROTECTING else backup.state.value


def _consistency(backup: Backup) -> dict[str, Any]:
    """What was asked for and reached; clients of the service ignore what they do not know."""
    reached = backup.consistency_reached
    return {
        "consistency_asked": backup.consistency_asked.value,
        "consistency_reached": reached.value if reached else "",
        "consistency_reason": backup.consistency_reason,
    }


def progress(item: Item) -> int:
    """Percent of what is being done to the backup; 100 where nothing is."""
    if item.backup.state is BackupState.AVAILABLE:
        return 100
    return item.task.progress_percent if item.task else 0


def _is_incremental(backup: Backup) -> bool:
    return any(disk.mode is not Mode.FULL for disk in backup.disks)


def _speed(backup: Backup) -> int:
    """Bytes a second over the time that it took."""
    if backup.finished_at is None:
        return 0
    duration_s = (backup.finished_at - backup.created_at).total_seconds()
    return int(backup.read_bytes / duration_s) if duration_s > 0 else 0


def _saved_percent(backup: Backup) -> int:
    """What compression and blocks that were known saved of what was copied."""
    if not backup.changed_bytes or backup.stored_bytes is None:
        return 0
    return max(0, min(100, 100 - 100 * backup.stored_bytes // backup.changed_bytes))


def _fail_code(backup: Backup) -> dict[str, str]:
    if not backup.fail_op:
        return {}
    return {"Code": code_of(backup.fail_code), "Description": _fail_reason(backup)}


def _fail_reason(backup: Backup) -> str:
    return cause(backup.fail_code, backup.fail_reason)
