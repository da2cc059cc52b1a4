"""Which policies a query means."""

from __future__ import annotations

from csbs.api.csbs_v1.wire.queries import Query


def parse_policy_filter(query: Query) -> str | None:
    """Its `name`, which is exact; None: any."""
    query.flag("all_tenants")
    return query.text("name")
