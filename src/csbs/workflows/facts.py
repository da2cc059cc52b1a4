"""What the product writes into a manifest beside the images: enough for a catalog row.

`backup_of` is the only way from a manifest to a row, for a commit that was just made and for one
that is found after a crash, so both come out alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from csbs.domain.backup import Backup, BackupState, DiskBackup, Mode
from csbs.domain.backup_plan import Token
from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.errors import Corrupt
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.ids import BackupId, DiskId, ProjectId, ServerId, TrackingName
from csbs.domain.server import ServerDescription
from csbs.repository import Manifest


@dataclass(eq=False)
class FactsUnreadable(Corrupt):
    """A manifest lacks facts that every csbs writes."""

    manifest: str
    why: str

    template = "manifest {0.manifest} lacks what csbs must know of a backup: {0.why}"


def facts_of(
    backup: Backup, server: ServerDescription, tracked: frozenset[str], damage_known: str = ""
) -> dict[str, Any]:
    """The facts of a backup that is about to be committed.

    `tracked` has the targets of the disks that its TrackingPoint covers.  `damage_known` stands
    for what was known to be damaged when it began, so that it names nothing of that.
    """
    return {
        "project_id": backup.project_id,
        "server": {
            "id": server.id,
            "name": server.name,
            "state": server.state,
            "definition_xml": server.definition_xml,
        },
        "name": backup.name,
        "trigger": "manual",
        "tracking": backup.tracking,
        "damage_known": damage_known,
        "consistency": {
            "asked": backup.consistency_asked,
            "reached": backup.consistency_reached,
            "reason": backup.consistency_reason,
            "freeze": None if backup.freeze is None else asdict(backup.freeze),
        },
        "disks": [
            {
                "id": disk.disk_id,
                "target": disk.target,
                "source": disk.source,
                "format": disk.format,
                "bootable": disk.bootable,
                "mode": disk.mode,
                "reason": disk.reason,
                "read_bytes": disk.read_bytes,
                "tracked": disk.target in tracked,
                "image_identity": _identity_of(server, disk.target),
            }
            for disk in backup.disks
        ],
    }


def backup_of(manifest: Manifest) -> Backup:
    """The committed backup.  Raises `FactsUnreadable`."""
    facts = manifest.facts
    try:
        return Backup(
            id=BackupId(manifest.backup_id),
            project_id=ProjectId(facts["project_id"]),
            server_id=ServerId(facts["server"]["id"]),
            server_name=facts["server"]["name"],
            name=facts["name"],
            state=BackupState.AVAILABLE,
            created_at=manifest.created_at,
            manifest_key=manifest.key,
            tracking=TrackingName(facts["tracking"]),
            disks=tuple(_disk_of(manifest, disk) for disk in facts["disks"]),
            stored_bytes=manifest.stored_bytes,
            consistency_asked=Consistency(facts["consistency"]["asked"]),
            consistency_reached=Consistency(facts["consistency"]["reached"]),
            consistency_reason=facts["consistency"]["reason"],
            freeze=_freeze_of(facts["consistency"]["freeze"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FactsUnreadable(manifest.key, repr(error)) from error


def tokens_of(manifest: Manifest) -> list[tuple[DiskId, Token | None]]:
    """For each disk of the backup the token that began with it; None: it is not tracked."""
    return [(DiskId(disk["id"]), _token_of(manifest, disk)) for disk in manifest.facts["disks"]]


def _token_of(manifest: Manifest, disk: dict[str, Any]) -> Token | None:
    image = manifest.image(disk["id"])
    if image is None or not disk["tracked"]:
        return None
    return Token(
        name=TrackingName(manifest.facts["tracking"]),
        backup_id=BackupId(manifest.backup_id),
        size_bytes=image.size_bytes,
        image_identity=disk["image_identity"],
    )


def _freeze_of(facts: dict[str, Any] | None) -> FreezeEvidence | None:
    return None if facts is None else FreezeEvidence(**facts)


def _identity_of(server: ServerDescription, target: str) -> str | None:
    disk = server.disk(target)
    return disk.image_identity if disk else None


def _disk_of(manifest: Manifest, disk: dict[str, Any]) -> DiskBackup:
    image = manifest.image(disk["id"])
    if image is None:
        raise FactsUnreadable(manifest.key, f"no image of disk {disk['id']}")
    changed_bytes = image.changed_blocks * BLOCK_SIZE
    return DiskBackup(
        disk_id=DiskId(disk["id"]),
        target=disk["target"],
        source=disk["source"],
        format=disk["format"],
        size_bytes=image.size_bytes,
        bootable=disk["bootable"],
        mode=Mode(disk["mode"]),
        reason=disk["reason"],
        read_bytes=disk["read_bytes"],
        changed_bytes=changed_bytes,
        nonzero_bytes=image.nonzero_blocks * BLOCK_SIZE,
        storage_bytes=changed_bytes,
    )
