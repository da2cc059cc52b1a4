"""Version documents.  SDKs read the one at `/` before each call, so it asks for no token."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from csbs.api.context import public_url

router = APIRouter()

_MULTIPLE_CHOICES = 300


def version_document(base_url: str) -> dict[str, Any]:
    """Version 3; clients want a dot in the number, and `stable`."""
    return {
        "id": "v3.6",
        "status": "stable",
        "updated": "2016-04-04T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base_url}/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


@router.get("/")
def get_versions(request: Request) -> JSONResponse:
    """All versions."""
    values = [version_document(public_url(request))]
    return JSONResponse({"versions": {"values": values}}, _MULTIPLE_CHOICES)


@router.get("/v3")
def get_version(request: Request) -> JSONResponse:
    """Version 3."""
    return JSONResponse({"version": version_document(public_url(request))})
