"""Queries about servers and their disks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import disks, servers, token_moves
from csbs.domain.backup_plan import Token
from csbs.domain.identity import KnownDisk, Match
from csbs.domain.ids import BackupId, DiskId, ProjectId, ServerId, TrackingName


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRestore:
    """A restore that was begun and has not ended well: the server must not start."""

    backup_id: BackupId
    #: What the server's autostart was before.
    autostart: bool


def remember_server(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId, name: str
) -> None:
    """Enters the server, or its new name."""
    found = transaction.execute(select(servers.c.id).where(servers.c.id == server_id)).first()
    if found is None:
        transaction.execute(insert(servers).values(id=server_id, project_id=project_id, name=name))
    else:
        transaction.execute(update(servers).where(servers.c.id == server_id).values(name=name))


def set_freeze_without_watchdog(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId, *, on: bool
) -> None:
    """Whether a server is frozen although no watchdog can be started in it."""
    transaction.execute(
        update(servers)
        .where(servers.c.project_id == project_id, servers.c.id == server_id)
        .values(freeze_without_watchdog=on)
    )


def freezes_without_watchdog(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> bool:
    """See `set_freeze_without_watchdog`; an unknown server is not."""
    found = transaction.scalar(
        select(servers.c.freeze_without_watchdog).where(
            servers.c.project_id == project_id, servers.c.id == server_id
        )
    )
    return bool(found)


def known_disks(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> list[KnownDisk]:
    """All disks that the server ever had, with their newest TrackingPoints."""
    rows = transaction.execute(_disks_of(project_id, server_id)).all()
    return [
        KnownDisk(
            id=DiskId(row.id),
            target=row.target,
            source=row.source,
            size_bytes=row.size_bytes,
            serial=row.serial,
            backing=row.backing,
            wwn=row.wwn,
            tracking=None if row.tracking_name is None else TrackingName(row.tracking_name),
        )
        for row in rows
    ]


def tokens(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> dict[DiskId, Token]:
    """The newest token of each disk that has one."""
    rows = transaction.execute(_disks_of(project_id, server_id)).all()
    return {DiskId(row.id): _token(row) for row in rows if row.tracking_name is not None}


def _token(row: Row[Any]) -> Token:
    return Token(
        name=TrackingName(row.tracking_name),
        backup_id=BackupId(row.tracking_backup_id),
        size_bytes=row.tracking_size_bytes,
        image_identity=row.tracking_image_identity,
    )


def _disks_of(project_id: ProjectId, server_id: ServerId) -> Select[Any]:
    return (
        select(disks)
        .where(disks.c.project_id == project_id, disks.c.server_id == server_id)
        .order_by(disks.c.target, disks.c.id)
    )


def remember_disks(
    transaction: Transaction,
    project_id: ProjectId,
    server_id: ServerId,
    found: Iterable[tuple[DiskId, Match]],
) -> None:
    """Enters the disks as they are now; a missing file keeps its last known size."""
    for disk_id, match in found:
        disk = match.disk
        values: dict[str, Any] = {
            "target": disk.target,
            "source": disk.source,
            "serial": disk.serial,
            "backing": disk.backing,
            "wwn": disk.wwn,
        }
        if not disk.missing:
            values["size_bytes"] = disk.size_bytes
        if match.known is None:
            identity = {"id": disk_id, "project_id": project_id, "server_id": server_id}
            transaction.execute(insert(disks).values({"size_bytes": 0} | values | identity))
        else:
            transaction.execute(
                update(disks)
                .where(disks.c.project_id == project_id, disks.c.id == disk_id)
                .values(values)
            )


def enter_disk(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId, disk: KnownDisk
) -> None:
    """Enters a disk that a backup remembers, unless it is known; it has no token yet."""
    if transaction.execute(select(disks.c.id).where(disks.c.id == disk.id)).first() is None:
        values = asdict(disk) | {"project_id": project_id, "server_id": server_id}
        del values["tracking"]
        transaction.execute(insert(disks).values(values))


def set_tokens(
    transaction: Transaction, project_id: ProjectId, new: Iterable[tuple[DiskId, Token | None]]
) -> None:
    """Sets the newest token of each of these disks; None: it has none.

    What was known of moves of the token before is forgotten.
    """
    own = select(disks.c.id).where(disks.c.project_id == project_id)
    for disk_id, token in new:
        transaction.execute(
            delete(token_moves).where(
                token_moves.c.disk_id == disk_id, token_moves.c.disk_id.in_(own)
            )
        )
        transaction.execute(
            update(disks)
            .where(disks.c.project_id == project_id, disks.c.id == disk_id)
            .values(
                tracking_name=token.name if token else None,
                tracking_backup_id=token.backup_id if token else None,
                tracking_size_bytes=token.size_bytes if token else None,
                tracking_image_identity=token.image_identity if token else None,
            )
        )


def remember_deletion(
    transaction: Transaction, project_id: ProjectId, disk_ids: Collection[DiskId]
) -> None:
    """Records that a backup of each of these disks was deleted."""
    transaction.execute(
        update(disks)
        .where(disks.c.project_id == project_id, disks.c.id.in_(disk_ids))
        .values(had_deletion=True)
    )


def with_deletions(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> frozenset[DiskId]:
    """Disks of the server of which a backup was deleted at some time."""
    rows = transaction.execute(_disks_of(project_id, server_id)).all()
    return frozenset(DiskId(row.id) for row in rows if row.had_deletion)


def owe_retiring(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId, *, owed: bool
) -> None:
    """Records whether the host may still hold TrackingPoints that nobody needs."""
    transaction.execute(
        update(servers)
        .where(servers.c.project_id == project_id, servers.c.id == server_id)
        .values(retire_owed=owed)
    )


def is_retiring_owed(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> bool:
    """Whether the host may still hold TrackingPoints that nobody needs."""
    return bool(
        transaction.scalar(
            select(servers.c.retire_owed).where(
                servers.c.project_id == project_id, servers.c.id == server_id
            )
        )
    )


def begin_restore(
    transaction: Transaction,
    project_id: ProjectId,
    server_id: ServerId,
    restore: UnfinishedRestore,
) -> None:
    """Records that from now on the server's disks may be half written."""
    transaction.execute(
        update(servers)
        .where(servers.c.project_id == project_id, servers.c.id == server_id)
        .values(restoring_backup_id=restore.backup_id, autostart=restore.autostart)
    )


def end_restore(transaction: Transaction, project_id: ProjectId, server_id: ServerId) -> None:
    """Records that the server's disks are whole again."""
    transaction.execute(
        update(servers)
        .where(servers.c.project_id == project_id, servers.c.id == server_id)
        .values(restoring_backup_id=None, autostart=False)
    )


def unfinished_restore(
    transaction: Transaction, project_id: ProjectId, server_id: ServerId
) -> UnfinishedRestore | None:
    """The restore that was begun and has not ended well, if there is one."""
    row = transaction.execute(
        select(servers).where(servers.c.project_id == project_id, servers.c.id == server_id)
    ).one_or_none()
    if row is None or row.restoring_backup_id is None:
        return None
    return UnfinishedRestore(backup_id=BackupId(row.restoring_backup_id), autostart=row.autostart)


def half_restored(transaction: Transaction, project_id: ProjectId) -> dict[ServerId, BackupId]:
    """Servers whose restore was begun and has not ended well, with the backup of each."""
    rows = transaction.execute(
        select(servers.c.id, servers.c.restoring_backup_id).where(
            servers.c.project_id == project_id, servers.c.restoring_backup_id.is_not(None)
        )
    ).all()
    return {ServerId(row.id): BackupId(row.restoring_backup_id) for row in rows}
