"""Fixed words of CSBS v1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from csbs.domain.errors import NotFound, Refused

#: Stands in every call of CSBS; clients have it compiled in.
PROVIDER_ID = "fc4d5750-22e7-4798-8a46-f48f62c4c1da"
PROVIDER_NAME = "csbs"

SERVER_TYPE = "OS::Nova::Server"
BARE_METAL_TYPE = "OS::Ironic::BareMetalServer"
#: Types of resources that the protocol knows; only servers can be backed up today.
RESOURCE_TYPES = (SERVER_TYPE, BARE_METAL_TYPE)

MIB = 1024**2
GIB = 1024**3


PROVIDER_BODY: dict[str, Any] = {
    "id": PROVIDER_ID,
    "name": PROVIDER_NAME,
    "description": "Backups of whole servers.",
    "extended_info_schema": {},
}


@dataclass(eq=False)
class ProviderNotFound(NotFound):
    """There is one provider only."""

    provider: str

    template = "there is no provider {0.provider}"


@dataclass(eq=False)
class TypeNotBackedUp(Refused):
    """A type that the protocol knows, and that csbs does not back up (yet)."""

    resource_type: str

    template = "resources of type {0.resource_type} cannot be backed up"


@dataclass(eq=False)
class TypeNotRestored(Refused):
    """A type to which csbs restores nothing (yet)."""

    resource_type: str

    template = "nothing can be restored to resources of type {0.resource_type}"


def require_server_type(resource_type: str) -> str:
    """The type.  Raises `TypeNotBackedUp` if it is no server's."""
    if resource_type != SERVER_TYPE:
        raise TypeNotBackedUp(resource_type[:64])
    return resource_type


def rounded_up(size_bytes: int, unit_bytes: int) -> int:
    """In whole units; a part of one counts as one."""
    return -(-size_bytes // unit_bytes)
