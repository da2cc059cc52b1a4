"""Quotas in Karbor's way: by project, and for an administrator to set."""

from __future__ import annotations

from typing import Any

from csbs.api.context import AdministersProject, InProject, Reads
from csbs.api.csbs_v1.routes.request import Body
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.codes import NotSupported
from csbs.api.csbs_v1.wire.quotas import (
    QuotaNotFound,
    karbor_quota_body,
    karbor_quota_detail,
    parse_quota_change,
)
from csbs.domain.quota import Quotas

router = csbs_router()


@router.get("/quotas/{tenant_id}")
def show_quota(here: Reads, tenant_id: str) -> dict[str, Any]:
    """Limits of the project."""
    _require_own(here, tenant_id)
    quotas, _usage = here.app.protection.quotas.show()
    return {"quota": karbor_quota_body(tenant_id, quotas)}


@router.get("/quotas/{tenant_id}/defaults")
def show_defaults(here: Reads, tenant_id: str) -> dict[str, Any]:
    """Limits of a project for which nobody set any."""
    _require_own(here, tenant_id)
    return {"quota": karbor_quota_body(tenant_id, Quotas())}


@router.get("/quotas/{tenant_id}/detail")
def show_detail(here: Reads, tenant_id: str) -> dict[str, Any]:
    """Limits, and what is used."""
    _require_own(here, tenant_id)
    quotas, usage = here.app.protection.quotas.show()
    return {"quota": karbor_quota_detail(tenant_id, quotas, usage)}


@router.put("/quotas/{tenant_id}")
def change_quota(here: AdministersProject, tenant_id: str, body: Body) -> dict[str, Any]:
    """Sets limits of the project."""
    _require_own(here, tenant_id)
    quotas = here.app.protection.quotas.change(parse_quota_change(body))
    return {"quota": karbor_quota_body(tenant_id, quotas)}


@router.get("/quota_classes/{name}")
def show_class(_here: Reads, name: str) -> dict[str, Any]:
    """There is one class, of all projects for which nobody set anything."""
    _require_default(name)
    return {"quota_class": karbor_quota_body(name, Quotas())}


@router.put("/quota_classes/{name}")
def change_class(_here: AdministersProject, name: str) -> None:
    """Karbor's way to change it for all."""
    _require_default(name)
    raise NotSupported("Changing a class of quotas")


def _require_own(here: InProject, tenant_id: str) -> None:
    """The project in the path twice; another one is none of this caller's."""
    if tenant_id != here.project_id:
        raise QuotaNotFound(tenant_id[:64])


def _require_default(name: str) -> None:
    if name != "default":
        raise QuotaNotFound(name[:64])
