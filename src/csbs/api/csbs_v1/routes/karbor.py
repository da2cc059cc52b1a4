"""Karbor's own calls that have no noun of ours: providers, protectables, logs, services."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import AdministersProject, Changes, Reads
from csbs.api.csbs_v1.routes.request import ListQuery, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.codes import InstanceNotFound, NotSupported
from csbs.api.csbs_v1.wire.protectables import (
    TYPES_BODY,
    Instance,
    ProtectableNotFound,
    instance_body,
    instance_sort_values,
    parse_instance_filter,
    type_body,
)
from csbs.api.csbs_v1.wire.queries import everything, page_of, parse_listing, slice_page
from csbs.api.csbs_v1.wire.task_query import (
    OPERATIONS,
    VerificationNotFound,
    operation_log_body,
    parse_operation_filter,
)
from csbs.api.csbs_v1.wire.words import (
    PROVIDER_BODY,
    PROVIDER_ID,
    SERVER_TYPE,
    ProviderNotFound,
)
from csbs.domain.errors import ServerNotFound
from csbs.domain.ids import TaskId
from csbs.services.exact import exact_server

router = csbs_router()


@router.get("/providers")
def list_providers(_here: Reads) -> dict[str, Any]:
    """There is one."""
    return {"providers": [PROVIDER_BODY]}


@router.get("/providers/{provider_id}")
def show_provider(_here: Reads, provider_id: str) -> dict[str, Any]:
    """The one."""
    if provider_id != PROVIDER_ID:
        raise ProviderNotFound(provider_id[:64])
    return {"provider": PROVIDER_BODY}


@router.get("/protectables")
def list_protectables(_here: Reads) -> dict[str, Any]:
    """Types that can be backed up."""
    return TYPES_BODY


@router.get("/protectables/{resource_type}")
def show_protectable(_here: Reads, resource_type: str) -> dict[str, Any]:
    """One type."""
    _require_known(resource_type)
    return {"protectable_type": type_body()}


@router.get("/protectables/{resource_type}/instances")
def list_instances(
    here: Reads, request: Request, resource_type: str, query: ListQuery
) -> dict[str, Any]:
    """A page of the project's servers, with their disks."""
    _require_known(resource_type)
    instances = [
        Instance(server=server, disks=here.app.protection.disks.of(server))
        for server in here.app.servers.list_all()
    ]
    page = page_of(
        instances, query, values=instance_sort_values, wanted=parse_instance_filter(query)
    )
    return linked(request, "instances", page, [instance_body(each) for each in page.rows])


@router.get("/protectables/{resource_type}/instances/{instance_id}")
def show_instance(here: Reads, resource_type: str, instance_id: str) -> dict[str, Any]:
    """One server, with its disks."""
    _require_known(resource_type)
    try:
        server = exact_server(here.app.servers, instance_id)
    except ServerNotFound:
        raise InstanceNotFound(instance_id[:64]) from None
    disks = here.app.protection.disks.of(server)
    return {"instance": instance_body(Instance(server=server, disks=disks))}


@router.get("/operation_logs")
def list_logs(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's tasks."""
    found = here.app.tasks.page(parse_operation_filter(query), parse_listing(query), OPERATIONS)
    page = slice_page(found, query, lambda task: task.id)
    views = here.app.protection.views.by_ids({each.backup_id for each in page.rows})
    known = {view.backup.id: view.backup for view in views.values()}
    bodies = [operation_log_body(each, known.get(each.backup_id)) for each in page.rows]
    return linked(request, "operation_logs", page, bodies)


@router.get("/operation_logs/{log_id}")
def show_log(here: Reads, log_id: str) -> dict[str, Any]:
    """One task."""
    task = here.app.tasks.get(TaskId(log_id))
    backup = here.app.protection.views.find(task.backup_id)
    return {"operation_log": operation_log_body(task, backup)}


@router.get("/verifications")
def list_verifications(_here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """None: a repository is verified by its operator."""
    page = page_of((), query, values=lambda _row: {}, wanted=everything)
    return linked(request, "verifications", page, [])


@router.post("/verifications")
def start_verification(_here: Changes) -> None:
    """Karbor's verification of one checkpoint."""
    raise NotSupported("Verification of a checkpoint")


@router.get("/verifications/{verification_id}")
def show_verification(_here: Reads, verification_id: str) -> None:
    """There is none."""
    raise VerificationNotFound(verification_id[:64])


@router.get("/os-services")
def list_services(here: AdministersProject) -> dict[str, Any]:
    """This process."""
    service = {
        "id": 1,
        "binary": "csbs",
        "host": here.region.name,
        "status": "enabled",
        "state": "up",
        "disabled_reason": None,
        "updated_at": None,
    }
    return {"services": [service]}


@router.put("/os-services/{service_id}")
def change_service(_here: AdministersProject, service_id: str) -> None:
    """Karbor's switching a service off."""
    del service_id
    raise NotSupported("Disabling a service")


def _require_known(resource_type: str) -> None:
    if resource_type != SERVER_TYPE:
        raise ProtectableNotFound(resource_type[:64])
