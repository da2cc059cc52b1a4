"""What `--json` shows: our field names, sizes in bytes, times in RFC 3339 UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from csbs.catalog.tasks import TaskStep
from csbs.cli.output import rfc3339
from csbs.domain.backup import Backup, DiskBackup
from csbs.domain.deletion_plan import DeletionPlan
from csbs.domain.ids import BackupId, ServerId
from csbs.domain.restore_plan import DiskRestore, RestorePlan
from csbs.domain.server import DiskDescription, ServerDescription, TrackingReport
from csbs.domain.task import Task
from csbs.repository import CollectReport, KeyRing, RepositoryDescription
from csbs.repository.mirror import MirrorReport
from csbs.services.exports import ExportDone
from csbs.services.restores import RestoreDone
from csbs.services.verification import VerifyDone
from csbs.workflows.rebuild_catalog import RebuildReport

Document = dict[str, Any]


def backup_document(backup: Backup) -> Document:
    """One backup, with its disks."""
    duration = backup.finished_at - backup.created_at if backup.finished_at else None
    return {
        "id": backup.id,
        "name": backup.name,
        "status": backup.state,
        "server": {"id": backup.server_id, "name": backup.server_name},
        "created_at": rfc3339(backup.created_at),
        "finished_at": rfc3339(backup.finished_at),
        "duration_s": None if duration is None else round(duration.total_seconds(), 3),
        "restored_bytes": backup.restored_bytes,
        "read_bytes": backup.read_bytes,
        "changed_bytes": backup.changed_bytes,
        "stored_bytes": backup.stored_bytes,
        "storage_bytes": backup.storage_bytes,
        "consistency": {
            "asked": backup.consistency_asked,
            "reached": backup.consistency_reached,
            "reason": backup.consistency_reason,
            "freeze": None if backup.freeze is None else asdict(backup.freeze),
        },
        "fail_reason": backup.fail_reason,
        "disks": [_disk_backup(disk) for disk in backup.disks],
    }


def _disk_backup(disk: DiskBackup) -> Document:
    return {
        "id": disk.disk_id,
        "target": disk.target,
        "source": disk.source,
        "format": disk.format,
        "bootable": disk.bootable,
        "mode": disk.mode,
        "reason": disk.reason,
        "size_bytes": disk.size_bytes,
        "read_bytes": disk.read_bytes,
        "changed_bytes": disk.changed_bytes,
        "storage_bytes": disk.storage_bytes,
    }


def server_document(
    server: ServerDescription,
    half_restored: Mapping[ServerId, BackupId],
    tracking: TrackingReport | None = None,
) -> Document:
    """One server, with its disks, and with what is tracked of them if that is given."""
    document: Document = {
        "id": server.id,
        "name": server.name,
        "state": server.state,
        "autostart": server.autostart,
        "unfinished_restore_of": half_restored.get(server.id),
        "disks": [_disk(disk) for disk in server.disks],
    }
    if tracking is not None:
        document["tracking_points"] = list(tracking.checkpoints)
    return document


def _disk(disk: DiskDescription) -> Document:
    return {
        "target": disk.target,
        "source": disk.source,
        "format": disk.format,
        "size_bytes": disk.size_bytes,
        "serial": disk.serial,
        "bootable": disk.bootable,
        "shared": disk.shared,
        "read_only": disk.read_only,
        "missing": disk.missing,
        "trackable": disk.trackable,
    }


def deletion_document(plan: DeletionPlan) -> Document:
    """What a deletion changes in the server's storage."""
    return {
        "backup": {"id": plan.backup.id, "name": plan.backup.name},
        "server": {"id": plan.backup.server_id, "name": plan.backup.server_name},
        "storage_before_bytes": plan.storage_before_bytes,
        "storage_after_bytes": plan.storage_after_bytes,
        "change_bytes": plan.change_bytes,
    }


def restore_document(plan: RestorePlan) -> Document:
    """What a restore does to each disk."""
    return {
        "backup": {"id": plan.backup.id, "name": plan.backup.name},
        "server": {"id": plan.backup.server_id, "name": plan.backup.server_name},
        "disks": [_disk_restore(disk) for disk in plan.disks],
    }


def restored_document(done: RestoreDone, *, started: bool) -> Document:
    """What a restore did to each disk."""
    document = restore_document(done.plan)
    for disk in document["disks"]:
        result = done.results.get(disk["target"]) if disk["size_bytes"] else None
        if result is not None:
            disk |= {
                "written_bytes": result.written_bytes,
                "zeroed_bytes": result.zeroed_bytes,
                "unchanged_bytes": result.unchanged_bytes,
                "holes": ranges_document(done.holes.get(disk["target"], ())),
            }
    return document | {"resumed": done.resumed, "started": started}


def _disk_restore(disk: DiskRestore) -> Document:
    return {
        "id": disk.disk_id,
        "target": disk.target,
        "action": disk.action,
        "size_bytes": disk.size_bytes,
        "way": disk.way,
        "way_reason": disk.way_reason,
        "note": disk.note,
    }


def task_document(task: Task, steps: Sequence[TaskStep] | None = None) -> Document:
    """One task, with its journal if that is given."""
    document: Document = {
        "id": task.id,
        "kind": task.kind,
        "state": task.state,
        "server": {"id": task.server_id, "name": task.server_name},
        "backup_id": task.backup_id,
        "created_at": rfc3339(task.created_at),
        "started_at": rfc3339(task.started_at),
        "ended_at": rfc3339(task.ended_at),
        "done_bytes": task.done_bytes,
        "total_bytes": task.total_bytes,
        "bytes_per_s": task.bytes_per_s,
        "left_s": task.left_s,
        "cancellable": task.is_open and task.cancellable,
        "progress_percent": task.progress_percent,
        "error": {
            "kind": task.error_kind,
            "code": task.error_code,
            "message": task.error_message,
        }
        if task.error_kind
        else None,
    }
    if steps is not None:
        document["steps"] = [
            {
                "name": step.name,
                "began_at": rfc3339(step.began_at),
                "ended_at": rfc3339(step.ended_at),
            }
            for step in steps
        ]
    return document


def export_document(done: ExportDone) -> Document:
    """Which files were written."""
    return {
        "backup": {"id": done.backup.id, "name": done.backup.name},
        "server": {"id": done.backup.server_id, "name": done.backup.server_name},
        "format": done.format,
        "disks": [
            {
                "id": each.disk.disk_id,
                "target": each.disk.target,
                "file": str(each.path),
                "size_bytes": each.disk.size_bytes,
                "written_bytes": each.written_bytes,
                "holes": ranges_document(each.holes),
            }
            for each in done.disks
        ],
        "definition": None if done.definition is None else str(done.definition),
        "note": str(done.note),
    }


def rebuild_document(report: RebuildReport) -> Document:
    """What a rebuilt catalog has, and what it could not take."""
    return {
        "owned": report.owned,
        "backups": report.backup_count,
        "servers": report.server_count,
        "damaged": [
            {"id": each.backup_id, "key": each.key, "why": each.why} for each in report.damaged
        ],
        "uncounted": list(report.uncounted),
        "forgotten": list(report.forgotten),
    }


def collect_document(report: CollectReport) -> Document:
    """What a collection freed, and what is left."""
    return {
        "backups_purged": report.backups_purged,
        "packs_deleted": report.packs_deleted,
        "freed_bytes": report.freed_bytes,
        "kept_packs": report.kept_packs,
        "kept_bytes": report.kept_bytes,
        "dead_bytes": report.dead_bytes,
    }


def verify_document(done: VerifyDone) -> Document:
    """What was verified, and what is damaged."""
    report = done.report
    return {
        "damaged": done.damaged,
        "backups_checked": report.backups,
        "map_nodes_read": report.nodes,
        "packs_checked": report.packs,
        "packs_read": report.packs_read,
        "read_bytes": report.read_bytes,
        "objects": [{"key": each.key, "why": each.why} for each in report.objects],
        "objects_left_off": report.objects_left_off,
        "backups": [
            {
                "id": each.id,
                "name": each.name,
                "server": {"id": each.server_id, "name": each.server_name},
                "why": each.why,
                "disks": [
                    {
                        "id": disk.disk_id,
                        "target": disk.target,
                        "lost_bytes": disk.lost_bytes,
                        "ranges": ranges_document(disk.ranges),
                        "ranges_left_off": disk.ranges_left_off,
                    }
                    for disk in each.disks
                ],
            }
            for each in done.backups
        ],
        "kept": report.kept,
        "mended": list(report.mended),
    }


def ranges_document(ranges: Sequence[tuple[int, int]]) -> list[Document]:
    """Ranges of a disk."""
    return [{"offset_bytes": offset, "size_bytes": length} for offset, length in ranges]


def key_ring_document(ring: KeyRing, *, recovery_key_waits: bool) -> Document:
    """The keys of an encrypted repository, by ids."""
    return {
        "repository_id": ring.repository_id,
        "number": ring.number,
        "created_at": ring.created_at,
        "region_key": {"id": ring.region.key_id, "since": ring.region.since},
        "recovery_key": {
            "id": ring.recovery.key_id,
            "since": ring.recovery.since,
            "shown": not recovery_key_waits,
        },
        "keys": [{"id": key.id, "use": key.use, "since": key.since} for key in ring.keys],
    }


def repository_document(found: RepositoryDescription) -> Document:
    """The repository."""
    return {
        "id": found.repository_id,
        "place": found.name,
        "format": found.format,
        "created_at": found.created_at,
        "owner": found.owner,
        "backups": found.backups,
        "packs": found.packs,
        "stored_bytes": found.stored_bytes,
    }


def mirror_document(report: MirrorReport) -> Document:
    """What a copy of the repository did."""
    return {
        "copied_objects": report.copied_objects,
        "copied_bytes": report.copied_bytes,
        "present_objects": report.present_objects,
    }
