"""How our own API refuses: the kind of the error, its object, one sentence."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, entry_of, words_for_tenants
from csbs.domain.errors import CsbsError


def refuse(error: CsbsError, *, operator: bool = False) -> Response:
    """The same document as the command line's `--json` has; what the host said is for operators."""
    words = str(error) if operator else words_for_tenants(error)
    told = words == str(error)
    body = {"kind": error.kind, "object": error.object_name if told else "", "message": words}
    return JSONResponse({"error": body}, entry_of(STATUS, error))
