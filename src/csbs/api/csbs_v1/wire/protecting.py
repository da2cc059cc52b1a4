"""What a backup by hand is asked for."""

from __future__ import annotations

from csbs.api.csbs_v1.wire.bodies import ProtectPart, excluded
from csbs.api.csbs_v1.wire.words import SERVER_TYPE, require_server_type
from csbs.domain.consistency import ApplicationMode, Consistency
from csbs.domain.ids import ServerId
from csbs.services.requests import CreateBackup


def create_backup(server_id: ServerId, wanted: ProtectPart) -> CreateBackup:
    """The request.  Raises `TypeNotBackedUp`."""
    require_server_type(wanted.resource_type or SERVER_TYPE)
    mode = ApplicationMode(wanted.app_consistency or 0)
    asked = Consistency.FILESYSTEM if mode is ApplicationMode.NO else Consistency.APPLICATION
    return CreateBackup(
        server=server_id,
        name=wanted.backup_name,
        description=wanted.description or "",
        # Absent means incremental; the first one of a disk is full anyway.
        full=wanted.incremental is False,
        consistency=asked,
        require_consistency=mode is ApplicationMode.REQUIRED,
        exclude_disks=excluded(wanted.extra_info),
    )
