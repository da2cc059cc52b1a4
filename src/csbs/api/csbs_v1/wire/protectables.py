"""Servers and their disks as Karbor's protectable instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.words import SERVER_TYPE
from csbs.domain.errors import NotFound
from csbs.domain.ids import DiskId
from csbs.domain.server import DiskDescription, ServerDescription

DISK_TYPE = "OS::Cinder::Volume"

TYPES_BODY: dict[str, Any] = {"protectable_type": [SERVER_TYPE]}


@dataclass(eq=False)
class ProtectableNotFound(NotFound):
    """Nothing of this type can be backed up."""

    resource_type: str

    template = "resources of type {0.resource_type} cannot be backed up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A server, and which of its disks is which."""

    server: ServerDescription
    disks: Sequence[tuple[DiskId, DiskDescription]]


def type_body() -> dict[str, Any]:
    """The one type."""
    return {"name": SERVER_TYPE, "dependent_types": [DISK_TYPE]}


def instance_body(instance: Instance) -> dict[str, Any]:
    """A server; its disks are what `exclude_volumes` and a restore's targets name."""
    server = instance.server
    return {
        "id": server.id,
        "type": SERVER_TYPE,
        "name": server.name,
        "extra_info": {"status": server.state.value},
        "dependent_resources": [_disk_body(*each) for each in instance.disks],
    }


def parse_instance_filter(query: Query) -> Callable[[Instance], bool]:
    """Its `name`, which is exact."""
    query.flag("all_tenants")
    name = query.text("name")
    return lambda instance: name is None or instance.server.name == name


def instance_sort_values(instance: Instance) -> dict[str, Any]:
    """What servers are sorted by; when one was made nobody knows."""
    server = instance.server
    return {"id": server.id, "name": server.name, "status": server.state.value}


def _disk_body(disk_id: DiskId, disk: DiskDescription) -> dict[str, Any]:
    return {
        "id": disk_id,
        "type": DISK_TYPE,
        "name": disk.target,
        "extra_info": {"bootable": disk.bootable, "size_bytes": disk.size_bytes},
        "dependent_resources": [],
    }
