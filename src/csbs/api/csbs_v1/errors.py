"""How CSBS v1 refuses; the table is `csbs.api.csbs_v1.wire.codes`."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from csbs.api.csbs_v1.wire.codes import entry, sentence
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError, *, operator: bool = False) -> Response:
    """The error as this protocol has it: in its own words for everybody."""
    del operator
    found = entry(error)
    body = {"error_code": found.code, "error_msg": sentence(error)}
    return JSONResponse(body, found.status)
