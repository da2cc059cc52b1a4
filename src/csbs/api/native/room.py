"""The room: all routers of our own API."""

from __future__ import annotations

from fastapi import APIRouter

from csbs.api.native.errors import refuse
from csbs.api.rooms import Room

_router = APIRouter(prefix="/native/v1")

ROOM = Room(prefix="/native", router=_router, refuse=refuse)
