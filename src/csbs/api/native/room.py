"""The room: all routers of our own API, and its OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi

from csbs.api.errors import RequestInvalid
from csbs.api.native import events, policies, previews, project, region, repository, users
from csbs.api.native.errors import refuse
from csbs.api.native.refusals import REFUSALS
from csbs.api.rooms import Room

_ABOUT = """\
Everything that csbs can do for a project, and for the region, in its own words. Log in at
`POST /v3/auth/tokens` and send the token as `X-Auth-Token`, or sign requests with an access key
(docs/reference/identity-api.md). Every answer from 400 on is a `Refusal`.
"""


def _only_known_parameters(request: Request) -> None:
    """A parameter that was mistyped would be a filter that does not filter."""
    known = {each.alias for each in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise RequestInvalid(f"query.{name}", "is no parameter of this call")


_router = APIRouter(
    prefix="/native/v1", responses=REFUSALS, dependencies=[Depends(_only_known_parameters)]
)
for _part in (users, region, project, policies, previews, events, repository):
    _router.include_router(_part.router)

ROOM = Room(prefix="/native", router=_router, refuse=refuse)


def openapi_document() -> dict[str, Any]:
    """What docs/reference/native-api.json has, and the service shows."""
    app = FastAPI()
    app.include_router(_router)
    document = get_openapi(
        title="csbs", version="1", summary="The native API", description=_ABOUT, routes=app.routes
    )
    for calls in document["paths"].values():
        for call in calls.values():
            call["responses"].pop("422", None)  # the framework's own; ours is 400
            call["security"] = [{"token": []}]
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    scheme = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
    document["components"]["securitySchemes"] = {"token": scheme}
    return document


@_router.get("/openapi.json", include_in_schema=False)
def show_openapi() -> dict[str, Any]:
    """The document of this API; it names no secret, so it asks for no login."""
    return openapi_document()
