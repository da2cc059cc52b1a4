"""Servers that can be looked at, and no more: for tests of what is refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from csbs.domain.errors import ServerNotFound
from csbs.domain.ids import ServerId, TrackingName
from csbs.domain.server import (
    DiskDescription,
    ServerDescription,
    ServerRef,
    ServerState,
    TrackingReport,
)

GIB = 1024**3


@dataclass(slots=True)
class StillDriver:
    """What of `ComputeDriver` only looks; tests change `servers` as they need."""

    servers: dict[ServerId, ServerDescription] = field(default_factory=dict)
    #: Called instead of a look for all servers, so that it can fail.
    fails: Callable[[], list[ServerRef]] | None = None

    def add_server(self, server_id: str, name: str, *disks: DiskDescription) -> ServerDescription:
        """A running server; with two disks unless some are given."""
        server = ServerDescription(
            id=ServerId(server_id),
            name=name,
            state=ServerState.RUNNING,
            disks=disks or (still_disk("vda", name, bootable=True), still_disk("vdb", name)),
            autostart=False,
            definition_xml="<domain/>",
            vcpus=2,
            memory_bytes=4 * GIB,
        )
        self.servers[server.id] = server
        return server

    def change(self, server_id: str, **values: object) -> None:
        """Gives the server other values."""
        key = ServerId(server_id)
        self.servers[key] = replace(self.servers[key], **values)  # type: ignore[arg-type]  # by name

    def list_refs(self) -> list[ServerRef]:
        """See `ComputeDriver.list_refs`."""
        if self.fails is not None:
            return self.fails()
        return [ServerRef(each.id, each.name) for each in self.list_servers()]

    def list_servers(self) -> list[ServerDescription]:
        """See `ComputeDriver.list_servers`."""
        return sorted(self.servers.values(), key=lambda each: each.name)

    def describe(self, server_id: ServerId) -> ServerDescription:
        """See `ComputeDriver.describe`."""
        if server_id not in self.servers:
            raise ServerNotFound(server_id)
        return self.servers[server_id]

    def tracking(self, server_id: ServerId) -> TrackingReport:
        """See `ComputeDriver.tracking`; nothing is tracked."""
        self.describe(server_id)
        none: tuple[TrackingName, ...] = ()
        return TrackingReport(checkpoints=none, usable={}, broken={})

    def pay_thaw(self, server_id: ServerId) -> str | None:
        """See `ComputeDriver.pay_thaw`."""
        self.describe(server_id)
        return None


def still_disk(
    target: str,
    server: str,
    *,
    size_bytes: int = GIB,
    bootable: bool = False,
    shared: bool = False,
) -> DiskDescription:
    """A disk with a path of its own, and a serial number that finds it again."""
    return DiskDescription(
        target=target,
        source=f"/images/{server}-{target}.qcow2",
        format="qcow2",
        size_bytes=size_bytes,
        serial=f"{server}-{target}",
        bootable=bootable,
        shared=shared,
        trackable=True,
    )
