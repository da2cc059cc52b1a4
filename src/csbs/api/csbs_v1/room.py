"""The room: all routers of CSBS v1."""

from __future__ import annotations

from fastapi import APIRouter

from csbs.api.csbs_v1.errors import refuse
from csbs.api.csbs_v1.routes import (
    actions,
    checkpoint_items,
    checkpoints,
    karbor,
    karbor_quotas,
    karbor_schedules,
    plans,
    policies,
    quotas,
    replication,
    restores,
    tags,
)
from csbs.api.rooms import Room

router = APIRouter(prefix="/v1/{project_id}", include_in_schema=False)
for each in (
    actions,
    checkpoint_items,
    checkpoints,
    restores,
    policies,
    quotas,
    replication,
    tags,
    plans,
    karbor,
    karbor_quotas,
    karbor_schedules,
):
    router.include_router(each.router)

ROOM = Room(prefix="/v1", router=router, refuse=refuse)
