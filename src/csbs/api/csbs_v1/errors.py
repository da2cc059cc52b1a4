"""The only place that knows the codes of CSBS, their statuses and wordings."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, entry_of
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError) -> Response:
    """The error as this protocol has it."""
    body = {"error_code": "CSBS.9999", "error_msg": str(error)}
    return JSONResponse(body, entry_of(STATUS, error))
