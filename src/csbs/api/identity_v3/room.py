"""The room: all routers of identity."""

from __future__ import annotations

from fastapi import APIRouter

from csbs.api.identity_v3 import lists, tokens
from csbs.api.identity_v3.errors import refuse
from csbs.api.rooms import Room

_router = APIRouter(prefix="/v3")
_router.include_router(tokens.router)
_router.include_router(lists.router)

ROOM = Room(prefix="/v3", router=_router, refuse=refuse)
