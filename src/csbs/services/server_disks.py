"""A server's disks by the ids that they keep: given at first sight, the same ever after."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.catalog import Catalog, servers
from csbs.compute.base import ComputeDriver
from csbs.domain.clock import NewId
from csbs.domain.ids import DiskId, ProjectId
from csbs.domain.server import DiskDescription, ServerDescription
from csbs.services.disks import identify_disks


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDisks:
    """What a caller may ask for about disks."""

    catalog: Catalog
    project_id: ProjectId
    driver: ComputeDriver
    new_id: NewId

    def of(self, server: ServerDescription) -> list[tuple[DiskId, DiskDescription]]:
        """The server's disks; those that are new have an id from now on."""
        found = identify_disks(self.catalog, self.driver, self.project_id, server, self.new_id)
        if any(match.known is None for _, match in found.disks):
            with self.catalog.transaction() as transaction:
                servers.remember_server(transaction, self.project_id, server.id, server.name)
                servers.remember_disks(transaction, self.project_id, server.id, found.disks)
        return [(disk_id, match.disk) for disk_id, match in found.disks]
