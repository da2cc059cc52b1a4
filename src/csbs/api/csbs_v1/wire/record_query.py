"""Which runs a query of `checkpoints` means."""

from __future__ import annotations

from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.records import NO_PLAN
from csbs.catalog.run_lists import RunFilter
from csbs.domain.ids import CheckpointId, PolicyId


def parse_record_filter(query: Query) -> RunFilter:
    """Karbor's filters: `status`, `plan_id`, `project_id`, and a range of days or times."""
    query.flag("all_tenants")
    plan = query.text("plan_id")
    by_hand = plan is not None and plan.startswith(NO_PLAN)
    return RunFilter(
        state=query.text("status"),
        policy_id=None if plan is None or by_hand else PolicyId(plan),
        by_hand_id=CheckpointId(plan.removeprefix(NO_PLAN)) if plan and by_hand else None,
        created_from=query.moment("start_date"),
        created_to=query.moment("end_date"),
    )
