"""Which runs a query of `checkpoints` means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.records import Record


def parse_record_filter(query: Query) -> Callable[[Record], bool]:
    """Karbor's filters: `status`, `plan_id`, `project_id`, and a range of days or times."""
    query.flag("all_tenants")
    status, plan = query.text("status"), query.text("plan_id")
    start, end = query.moment("start_date"), query.moment("end_date")

    def wanted(record: Record) -> bool:
        return (
            (status is None or record.status == status)
            and (plan is None or record.plan_id == plan)
            and (start is None or start <= record.created_at)
            and (end is None or record.created_at <= end)
        )

    return wanted


def sort_values(record: Record) -> dict[str, Any]:
    """What runs are sorted by."""
    return {"id": record.id, "created_at": record.created_at, "status": record.status}
