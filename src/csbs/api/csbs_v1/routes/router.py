"""Routers whose calls refuse in the shape that their caller can read.

karborclient shares these paths, and fails inside itself at the flat error of CSBS: it wants an
object with a message in it.  It says who it is, and gets that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse

from csbs.api.csbs_v1.wire.codes import entry, karbor_fault, sentence
from csbs.domain.errors import CsbsError

_KARBOR = "python-karborclient"


class _Call(APIRoute):
    """A call of this room."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What FastAPI calls."""
        handle = super().get_route_handler()

        async def handle_for_client(request: Request) -> Response:
            try:
                return await handle(request)
            except CsbsError as error:
                if not request.headers.get("user-agent", "").startswith(_KARBOR):
                    raise
                request.state.error = error  # for the log and the audit trail
                return _refuse(error)

        return handle_for_client


def csbs_router(**options: Any) -> APIRouter:
    """A router of this room, with the options of FastAPI's."""
    return APIRouter(route_class=_Call, **options)


def _refuse(error: CsbsError) -> Response:
    found = entry(error)
    message = f"[{found.code}] {sentence(error)}"
    fault = {"code": found.status, "message": message}
    return JSONResponse({karbor_fault(found.status): fault}, found.status)
