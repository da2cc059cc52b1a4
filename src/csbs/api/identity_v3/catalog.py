"""The services that clients find through us.  One that is not served is not published.

Of its `url`, clients that sign requests fill in the project themselves; all others get it filled
in.  No host or prefix here may contain `v2`, `ecs` or `evs`: SDKs replace these texts in URLs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from csbs.domain.ids import ProjectId

Document = dict[str, Any]

#: What clients put in the place of this is their project's id.
_PROJECT = "$(tenant_id)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One entry of the catalog."""

    id: str
    type: str
    name: str
    #: Below the public URL.
    path: str

    @property
    def of_project(self) -> bool:
        """Whether its URL has the project's id in it."""
        return _PROJECT in self.path


SERVICES = (
    Service(id="0b5cf2a8d1e34f67a9c4e85d7f316b20", type="identity", name="keystone", path="/v3"),
    Service(
        id="5d9e17c34ab84c02b6f8d03a9e72c541",
        type="data-protect",
        name="csbs",
        path=f"/v1/{_PROJECT}",
    ),
    Service(
        id="c27a4f0e96d5418b8b1c3e60fd94a7d8", type="csbs", name="csbs", path=f"/v1/{_PROJECT}"
    ),
)

_INTERFACES = ("public", "internal", "admin")


def catalog(base_url: str, region: str, project_id: ProjectId | None) -> list[Document]:
    """The catalog of a token: without a project, the services that need none."""
    return [
        {
            "id": service.id,
            "type": service.type,
            "name": service.name,
            "endpoints": [
                _endpoint(service, interface, region)
                | {"url": base_url + service.path.replace(_PROJECT, project_id or "")}
                for interface in _INTERFACES
            ],
        }
        for service in SERVICES
        if project_id is not None or not service.of_project
    ]


def endpoints(base_url: str, region: str) -> list[Document]:
    """The list of endpoints, with a place for the project; its clients want `public` ones."""
    return [
        _endpoint(service, "public", region)
        | {"service_id": service.id, "enabled": True, "url": base_url + service.path}
        for service in SERVICES
    ]


def services() -> list[Document]:
    """The list of services; the one client that reads it looks for `_` in the place of `-`."""
    return [
        {
            "id": service.id,
            "type": service.type.replace("-", "_"),
            "name": service.name,
            "enabled": True,
        }
        for service in SERVICES
    ]


def _endpoint(service: Service, interface: str, region: str) -> Document:
    return {
        "id": f"{_INTERFACES.index(interface)}{service.id[1:]}",
        "interface": interface,
        "region": region,
        "region_id": region,
    }
