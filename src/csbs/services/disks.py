"""Finding a server's disks again among those that the catalog knows."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.catalog import Catalog, servers
from csbs.compute.base import ComputeDriver
from csbs.domain.clock import NewId
from csbs.domain.identity import Match, match_disks
from csbs.domain.ids import DiskId, ProjectId, TrackingName
from csbs.domain.server import ServerDescription, TrackingReport


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


def _bitmaps(report: TrackingReport) -> dict[str, frozenset[TrackingName]]:
    none: frozenset[TrackingName] = frozenset()
    targets = report.usable.keys() | report.broken.keys()
    return {
        target: report.usable.get(target, none).union(report.broken.get(target, ()))
        for target in targets
    }
