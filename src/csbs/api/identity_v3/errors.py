"""How Keystone refuses: its body, and the status of each kind."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, entry_of
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError) -> Response:
    """The error as Keystone has it."""
    status = entry_of(STATUS, error)
    body = {"code": status, "title": HTTPStatus(status).phrase, "message": str(error)}
    # No WWW-Authenticate: curl and browsers would ask for a password that nothing here takes.
    return JSONResponse({"error": body}, status)
