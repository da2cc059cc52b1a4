"""How our own API refuses: the kind of the error, its object, one sentence."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, entry_of
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError) -> Response:
    """The same document as the command line's `--json` has."""
    body = {"kind": error.kind, "object": error.object_name, "message": str(error)}
    return JSONResponse({"error": body}, entry_of(STATUS, error))
