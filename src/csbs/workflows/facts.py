"""What the product writes into a manifest beside the images: enough for a catalog row.

`backup_of` is the only way from a manifest to a row, for a commit that was just made and for one
that is found after a crash, so both come out alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from csbs.domain.backup import Backup, BackupState, DiskBackup, Mode
from csbs.domain.backup_plan import Token
from csbs.domain.consistency import Consistency, FreezeEvidence
from csbs.domain.errors import Corrupt
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.identity import KnownDisk
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    DiskId,
    PolicyId,
    ProjectId,
    ServerId,
    TrackingName,
)
from csbs.domain.server import ServerDescription
from csbs.repository import Manifest


@dataclass(eq=False)
class FactsUnreadable(Corrupt):
    """A manifest lacks facts that every csbs writes."""

    manifest: str
    why: str

    template = "manifest {0.manifest} lacks what csbs must know of a backup: {0.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How a backup was made, beside what its catalog row has."""

    #: Targets of the disks that its TrackingPoint covers.
    tracked: frozenset[str]
    #: By target: the backup that the disk was compared with.
    parents: Mapping[str, BackupId | None]
    finished_at: datetime
    #: Stands for what was known to be damaged when it began, so that it names nothing of that.
    damage_known: str = ""


def facts_of(backup: Backup, server: ServerDescription, making: Making) -> dict[str, Any]:
    """The facts of a backup that is about to be committed."""
    return {
        "project_id": backup.project_id,
        "server": {
            "id": server.id,
            "name": server.name,
            "state": server.state,
            "definition_xml": server.definition_xml,
            "vcpus": backup.vcpus,
            "memory_bytes": backup.memory_bytes,
        },
        "name": backup.name,
        "description": backup.description,
        "trigger": "auto" if backup.auto_trigger else "manual",
        "checkpoint_id": backup.checkpoint_id,
        "policy_id": backup.policy_id,
        "tracking": backup.tracking,
        "damage_known": making.damage_known,
        "consistency": {
            "asked": backup.consistency_asked,
            "reached": backup.consistency_reached,
            "reason": backup.consistency_reason,
            "freeze": None if backup.freeze is None else asdict(backup.freeze),
        },
        "finished_at": making.finished_at.isoformat(),
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
                "parent": making.parents.get(disk.target),
                "tracked": disk.target in making.tracked,
                **_identity_of(server, disk.target),
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
            finished_at=_instant(facts.get("finished_at")),
            manifest_key=manifest.key,
            tracking=TrackingName(facts["tracking"]),
            # Manifests before these facts were of runs of their own.
            checkpoint_id=CheckpointId(facts.get("checkpoint_id") or manifest.backup_id),
            description=facts.get("description", ""),
            policy_id=None if facts.get("policy_id") is None else PolicyId(facts["policy_id"]),
            auto_trigger=facts.get("trigger") == "auto",
            disks=tuple(_disk_of(manifest, disk) for disk in facts["disks"]),
            stored_bytes=manifest.stored_bytes,
            consistency_asked=Consistency(facts["consistency"]["asked"]),
            consistency_reached=Consistency(facts["consistency"]["reached"]),
            consistency_reason=facts["consistency"]["reason"],
            freeze=_freeze_of(facts["consistency"]["freeze"]),
            vcpus=facts["server"].get("vcpus", 0),
            memory_bytes=facts["server"].get("memory_bytes", 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FactsUnreadable(manifest.key, repr(error)) from error


def tokens_of(manifest: Manifest) -> list[tuple[DiskId, Token | None]]:
    """For each disk of the backup the token that began with it; None: it is not tracked."""
    return [(DiskId(disk["id"]), _token_of(manifest, disk)) for disk in manifest.facts["disks"]]


def known_disks_of(manifest: Manifest) -> list[KnownDisk]:
    """The disks as they were, for finding them again.  Of a manifest that has a `backup_of`."""
    return [
        KnownDisk(
            id=DiskId(disk["id"]),
            target=disk["target"],
            source=disk["source"],
            size_bytes=image.size_bytes,
            serial=disk.get("serial"),
            wwn=disk.get("wwn"),
            backing=disk.get("backing"),
        )
        for disk in manifest.facts["disks"]
        if (image := manifest.image(disk["id"])) is not None
    ]


def parents_of(manifest: Manifest) -> dict[DiskId, BackupId | None]:
    """By disk the backup that it was compared with; nothing of a disk where that is not known."""
    disks = [disk for disk in manifest.facts["disks"] if "parent" in disk]
    return {
        DiskId(disk["id"]): None if disk["parent"] is None else BackupId(disk["parent"])
        for disk in disks
    }


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


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _identity_of(server: ServerDescription, target: str) -> dict[str, str | None]:
    disk = server.disk(target)
    return {
        "image_identity": disk.image_identity if disk else None,
        "serial": disk.serial if disk else None,
        "wwn": disk.wwn if disk else None,
        "backing": disk.backing if disk else None,
    }


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
