"""Which policies a query means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csbs.api.csbs_v1.wire.queries import Query
from csbs.domain.policy import Policy


def parse_policy_filter(query: Query) -> Callable[[Policy], bool]:
    """Its `name`, which is exact."""
    query.flag("all_tenants")
    name = query.text("name")
    return lambda policy: name is None or policy.name == name


def sort_values(policy: Policy) -> dict[str, Any]:
    """What policies are sorted by."""
    return {
        "id": policy.id,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
        "name": policy.name,
    }
