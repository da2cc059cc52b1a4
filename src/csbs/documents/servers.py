"""Servers: as they are now, and how they are backed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import StrictBool

from csbs.documents.base import Body, Document, Page, Reference
from csbs.documents.events import RpoDocument
from csbs.domain.server import DiskDescription, ServerDescription, ServerState

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.services.rpo import RpoService
    from csbs.services.servers import ServerService


class DiskDocument(Document):
    """A disk of a server, as it is now."""

    target: str
    #: Where it lies on the host: for administrators only, as its serial is.
    source: str | None
    format: str
    size_bytes: int
    serial: str | None
    bootable: bool
    shared: bool
    read_only: bool
    missing: bool
    trackable: bool

    @classmethod
    def of(cls, disk: DiskDescription, *, operator: bool) -> Self:
        """As it is."""
        found = cls.model_validate(disk)
        return found if operator else found.model_copy(update={"source": None, "serial": None})


class ServerDocument(Document):
    """A server, as it is now."""

    id: str
    name: str
    state: ServerState
    autostart: bool
    unfinished_restore_of: str | None
    disks: list[DiskDocument]

    @classmethod
    def of(
        cls,
        server: ServerDescription,
        *,
        operator: bool,
        unfinished_restore_of: str | None = None,
    ) -> Self:
        """As it is."""
        return cls(
            id=server.id,
            name=server.name,
            state=server.state,
            autostart=server.autostart,
            unfinished_restore_of=unfinished_restore_of,
            disks=[DiskDocument.of(disk, operator=operator) for disk in server.disks],
        )


class ServerDetails(ServerDocument):
    """A server, with what csbs keeps on the host for it."""

    tracking_points: list[str]
    freeze_without_watchdog: bool
    #: Null: it was never backed up, nor bound to a policy.
    rpo: RpoDocument


class ServerStopped(ServerDocument):
    """A server that was stopped, and how."""

    stopped_by: str


class ServerList(Page):
    """Servers, by name."""

    servers: list[ServerDocument]


class ServerPage(ServerList, Page):
    """Some of them."""


class ServerChange(Body):
    """How a server is backed up."""

    #: Freeze its file systems although no watchdog can be started in it.
    freeze_without_watchdog: StrictBool


class ServerSettings(Document):
    """How a server is backed up from now on."""

    server: Reference
    freeze_without_watchdog: bool


class ServerUntracked(Document):
    """Which tracking points were removed from a server."""

    server: Reference
    removed: list[str]


def listed(
    servers: ServerService, found: Sequence[ServerDescription], *, operator: bool
) -> list[ServerDocument]:
    """These servers of the project."""
    restoring = servers.half_restored()
    return [
        ServerDocument.of(each, operator=operator, unfinished_restore_of=restoring.get(each.id))
        for each in found
    ]


def detailed(
    servers: ServerService, rpo: RpoService, wanted: str, *, operator: bool
) -> ServerDetails:
    """One server.  Raises `ServerNotFound`, `ServerAmbiguous`."""
    found = servers.find(wanted)
    plain = described(servers, found, operator=operator)
    return ServerDetails(
        **plain.model_dump(),
        tracking_points=list(servers.tracking(found).checkpoints),
        freeze_without_watchdog=servers.freezes_without_watchdog(found),
        rpo=RpoDocument.of(rpo.of_server(found)),
    )


def described(
    servers: ServerService, server: ServerDescription, *, operator: bool
) -> ServerDocument:
    """The server, with an interrupted restore of it."""
    restoring = servers.half_restored().get(server.id)
    return ServerDocument.of(server, operator=operator, unfinished_restore_of=restoring)


def stopped(servers: ServerService, wanted: str, *, operator: bool) -> ServerStopped:
    """Stops the server.  Raises what `ServerService.stop` raises."""
    server, how = servers.stop(wanted)
    plain = described(servers, server, operator=operator)
    return ServerStopped(**plain.model_dump(), stopped_by=how)


def changed(servers: ServerService, wanted: str, change: ServerChange) -> ServerSettings:
    """Sets how the server is backed up.  Raises `ServerNotFound`, `ServerAmbiguous`."""
    on = change.freeze_without_watchdog
    found = servers.set_freeze_without_watchdog(wanted, on=on)
    return ServerSettings(
        server=Reference(id=found.id, name=found.name), freeze_without_watchdog=on
    )


def untracked(servers: ServerService, wanted: str) -> ServerUntracked:
    """Removes its tracking points.  Raises what `ServerService.untrack` raises."""
    found, removed = servers.untrack(wanted)
    return ServerUntracked(server=Reference(id=found.id, name=found.name), removed=list(removed))
