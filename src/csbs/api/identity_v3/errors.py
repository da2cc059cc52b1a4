"""How Keystone refuses: its body, and the status of each kind."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, entry_of, words_for_tenants
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError, *, operator: bool = False) -> Response:
    """The error as Keystone has it; who asks is not known yet."""
    del operator
    status = entry_of(STATUS, error)
    body = {"code": status, "title": HTTPStatus(status).phrase, "message": words_for_tenants(error)}
    # No WWW-Authenticate: curl and browsers would ask for a password that nothing here takes.
    return JSONResponse({"error": body}, status)
