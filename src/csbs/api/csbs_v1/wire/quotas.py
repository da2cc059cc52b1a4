"""Quotas in the words of CSBS, and of Karbor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from csbs.api.csbs_v1.wire.words import GIB, rounded_up
from csbs.api.errors import RequestInvalid
from csbs.api.json_body import Body, read_body
from csbs.domain.errors import NotFound
from csbs.domain.quota import LIMIT_MAX, Quotas, Usage

#: In GB.
_CAPACITY_MAX = LIMIT_MAX // GIB


class _QuotaPart(Body):
    backups: int | None = None
    backup_capacity: int | None = None
    plans: int | None = None
    checkpoints: int | None = None


class _QuotaBody(Body):
    quota: _QuotaPart


@dataclass(eq=False)
class QuotaNotFound(NotFound):
    """Quotas of another project, or of a class that is not there."""

    owner: str

    template = "there are no quotas of {0.owner}"


def quotas_body(quotas: Quotas, usage: Usage) -> dict[str, Any]:
    """The two that CSBS counts."""
    capacity, used = _capacity(quotas), rounded_up(usage.backup_bytes, GIB)
    resources = [
        {"type": "backup_capacity", "unit": "GB", "quota": capacity, "used": used},
        {"type": "backups", "quota": _number(quotas.backups), "used": usage.backups},
    ]
    return {"quotas": {"resources": resources}}


def karbor_quota_body(project_id: str, quotas: Quotas) -> dict[str, Any]:
    """Limits by name; one of ours counts in GB."""
    return {
        "id": project_id,
        "plans": _number(quotas.policies),
        "checkpoints": _number(quotas.backups),
        "backup_capacity": _capacity(quotas),
    }


def karbor_quota_detail(project_id: str, quotas: Quotas, usage: Usage) -> dict[str, Any]:
    """Limits with what is used of each."""
    limits = karbor_quota_body(project_id, quotas)
    used = {
        "plans": usage.policies,
        "checkpoints": usage.backups,
        "backup_capacity": rounded_up(usage.backup_bytes, GIB),
    }
    detail = {
        name: {"limit": limits[name], "in_use": in_use, "reserved": 0}
        for name, in_use in used.items()
    }
    return {"id": project_id, **detail}


def parse_quota_change(data: bytes) -> dict[str, int]:
    """Limits by the names of `Quotas`; what is not named stays."""
    given = read_body(_QuotaBody, data).quota
    limits: dict[str, int] = {}
    backups = given.checkpoints if given.backups is None else given.backups
    if backups is not None:
        limits["backups"] = backups
    if given.plans is not None:
        limits["policies"] = given.plans
    if given.backup_capacity is not None:
        in_gib = given.backup_capacity
        if in_gib > _CAPACITY_MAX:
            raise RequestInvalid("quota.backup_capacity", f"it may be {_CAPACITY_MAX} at most")
        limits["backup_bytes"] = in_gib if in_gib < 0 else in_gib * GIB
    return limits


def _capacity(quotas: Quotas) -> int:
    most = quotas.backup_bytes
    return -1 if most is None else most // GIB


def _number(limit: int | None) -> int:
    return -1 if limit is None else limit
