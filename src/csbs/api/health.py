"""For who looks after the service: is it alive, is it ready, how does it do.

`/metrics` has numbers only; of a project nothing but ids of servers, where a setting asks for them.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from csbs.api.accounting import Accounting
from csbs.domain.errors import CsbsError

_UNAVAILABLE = 503


def health_router(accounting: Accounting) -> APIRouter:
    """The three calls; none asks who it is."""
    router = APIRouter()

    @router.get("/healthz")
    def is_alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    def is_ready(request: Request) -> JSONResponse:
        """Whether it goes on, and the catalog answers; a fault is in the log, not in the answer."""
        if request.app.state.is_stopping:
            return JSONResponse({"status": "the service stops"}, _UNAVAILABLE)
        try:
            accounting.region.projects.list_all()
        except CsbsError:
            return JSONResponse({"status": "the catalog does not answer"}, _UNAVAILABLE)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics")
    def show_metrics() -> Response:
        return Response(generate_latest(accounting.metrics), media_type=CONTENT_TYPE_LATEST)

    return router
