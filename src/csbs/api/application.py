"""The application: all rooms behind one gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from csbs.api import csbs_v1, identity_v3, native
from csbs.api.accounting import Accounting
from csbs.api.errors import MethodUnknown, RequestInvalid, RouteUnknown
from csbs.api.health import health_router
from csbs.api.limits import Around, Gate, LimitOptions
from csbs.api.rooms import room_of
from csbs.documents.reasons import reason
from csbs.domain.clock import monotonic
from csbs.domain.errors import CsbsError
from csbs.domain.tenancy import Caller, Role
from csbs.services.region import Region

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

#: The last one takes what lies in none.
ROOMS = (csbs_v1.ROOM, identity_v3.ROOM, native.ROOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """How the service shows itself."""

    #: `https://backup.example`, without a slash at the end; empty: where a request reached us.
    public_url: str = ""
    version: str = "0"
    limits: LimitOptions = field(default_factory=LimitOptions)


def make_application(region: Region, options: ApiOptions) -> FastAPI:
    """The whole API of one region, as an ASGI application."""
    app = FastAPI(
        title="csbs",
        version=options.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.region = region
    app.state.is_stopping = False
    app.state.public_url = options.public_url.rstrip("/")
    accounting = Accounting(region)
    app.include_router(health_router(accounting))
    app.include_router(identity_v3.versions.router)
    for room in ROOMS:
        app.include_router(room.router)
    app.add_exception_handler(CsbsError, _refused)
    app.add_exception_handler(RequestValidationError, _translated(_first_problem))
    app.add_exception_handler(HTTPException, _translated(_of_the_framework))
    app.add_middleware(
        Gate,
        options=options.limits,
        around=Around(
            refuse=lambda path, error: room_of(ROOMS, path).refuse(error),
            finished=accounting.finished,
            new_id=region.new_id,
            monotonic=monotonic,
        ),
    )
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CsbsError)
    request.state.error = error
    caller: Caller | None = getattr(request.state, "caller", None)
    operator = caller is not None and caller.may(Role.ADMIN)
    return room_of(ROOMS, request.url.path).refuse(error, operator=operator)


def _translated(translate: Callable[[Request, Any], CsbsError]) -> Any:
    async def handler(request: Request, error: Exception) -> Response:
        response = await _refused(request, translate(request, error))
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(_methods_of(request))
        return response

    return handler


def _methods_of(request: Request) -> list[str]:
    """All methods of the path; the framework's own answer has those of one route only."""
    routes = request.app.router.routes
    return [
        method
        for method in _METHODS
        if any(
            route.matches(dict(request.scope) | {"method": method})[0] is Match.FULL
            for route in routes
        )
    ]


def _first_problem(_request: Request, error: RequestValidationError) -> CsbsError:
    first = error.errors()[0]
    # Of a field of the body its name alone is told, as refusals of the use cases tell it.
    where = [str(part) for part in first["loc"]]
    name = ".".join(where[1:] if where[:1] == ["body"] and len(where) > 1 else where)
    return RequestInvalid(name or "body", reason(first))


def _of_the_framework(request: Request, error: HTTPException) -> CsbsError:
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodUnknown(path, request.method)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return RouteUnknown(path)
    return RequestInvalid("request", str(error.detail))
