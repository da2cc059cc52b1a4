"""The room: all routers of CSBS v1."""

from __future__ import annotations

from fastapi import APIRouter

from csbs.api.csbs_v1.errors import refuse
from csbs.api.rooms import Room

router = APIRouter(prefix="/v1/{project_id}")

ROOM = Room(prefix="/v1", router=router, refuse=refuse)
