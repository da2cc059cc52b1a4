"""Servers by their whole ids: machines name them so, and mean nothing else."""

from __future__ import annotations

from csbs.domain.errors import ServerNotFound
from csbs.domain.ids import ServerId
from csbs.domain.server import ServerDescription
from csbs.services.servers import ServerService


def exact_server(servers: ServerService, server_id: str) -> ServerDescription:
    """The server with just this id.  Raises `ServerNotFound`."""
    found = servers.find(server_id)
    if found.id != ServerId(server_id):
        raise ServerNotFound(server_id)
    return found
