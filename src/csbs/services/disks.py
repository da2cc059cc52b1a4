"""A server's disks: finding them again among those that the catalog knows, and what it knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, backups, servers, token_moves
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup
from csbs.domain.backup_plan import DiskHistory, DiskPlan, Parent, reading_again
from csbs.domain.block_set import BlockSet
from csbs.domain.clock import NewId
from csbs.domain.deletion_plan import counts
from csbs.domain.errors import Corrupt
from csbs.domain.identity import Match, match_disks
from csbs.domain.ids import DiskId, ProjectId, ServerId, TrackingName
from csbs.domain.server import ServerDescription, TrackingReport
from csbs.repository import Repository
from csbs.repository.errors import BackupMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedDisks:
    """A server's disks with their ids, and what is tracked of them."""

    disks: tuple[tuple[DiskId, Match], ...]
    tracking: TrackingReport


def identify_disks(
    catalog: Catalog,
    driver: ComputeDriver,
    project_id: ProjectId,
    server: ServerDescription,
    new_id: NewId,
) -> IdentifiedDisks:
    """Which disk is which; new ones get an id.  Changes nothing."""
    report = driver.tracking(server.id)
    with catalog.transaction() as transaction:
        known = servers.known_disks(transaction, project_id, server.id)
    matches = match_disks(known, server.disks, _bitmaps(report))
    return IdentifiedDisks(
        disks=tuple(
            (match.known.id if match.known else DiskId(new_id()), match) for match in matches
        ),
        tracking=report,
    )


def disk_histories(
    catalog: Catalog, project_id: ProjectId, server_id: ServerId, ids: Collection[DiskId]
) -> dict[DiskId, DiskHistory]:
    """What is known of each of these disks: its newest backup, and its token."""
    with catalog.transaction() as transaction:
        tokens = servers.tokens(transaction, project_id, server_id)
        former = backups.of_server(transaction, project_id, server_id)
        deletions = servers.with_deletions(transaction, project_id, server_id)
        histories = {}
        for disk_id in ids:
            parent, token = _parent(former, disk_id), tokens.get(disk_id)
            moved = None
            if parent is not None and token is not None:
                place = disk_id, parent.backup_id
                moved = token_moves.find(transaction, project_id, place, token.name)
            histories[disk_id] = DiskHistory(
                parent=parent,
                token=token,
                moved=moved,
                had_deletion=disk_id in deletions,
                backup_count=sum(each.disk(disk_id) is not None for each in former),
            )
    return histories


def reading_damaged_again(
    catalog: Catalog, project_id: ProjectId, repository: Repository, plan: DiskPlan
) -> DiskPlan:
    """The plan, which reads again what is known to be damaged of the disk's parent.

    A parent that was made when just this was known has none of it: its map need not be walked.
    """
    if plan.parent_id is None or not repository.damage_known:
        return plan
    with catalog.transaction() as transaction:
        parent = backups.get(transaction, project_id, plan.parent_id)
    try:
        manifest = repository.manifest(parent.manifest_key)
    except (Corrupt, BackupMissing):  # the copy meets it, and does without the parent
        return plan
    image = manifest.image(plan.disk_id)
    if image is None or manifest.facts.get("damage_known") == repository.damage_known:
        return plan
    return reading_again(plan, BlockSet.of(repository.damaged_runs(image)))


def _parent(former: Sequence[Backup], disk_id: DiskId) -> Parent | None:
    """The newest backup with the disk that can be restored; `former` is ordered, oldest first."""
    for backup in reversed(former):
        disk = backup.disk(disk_id)
        if disk is not None and counts(backup):  # one that a restore reads is there too
            return Parent(backup_id=backup.id, size_bytes=disk.size_bytes)
    return None


def _bitmaps(report: TrackingReport) -> dict[str, frozenset[TrackingName]]:
    none: frozenset[TrackingName] = frozenset()
    targets = report.usable.keys() | report.broken.keys()
    return {
        target: report.usable.get(target, none).union(report.broken.get(target, ()))
        for target in targets
    }
