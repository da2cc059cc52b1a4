"""How Keystone refuses: its body, and the status of each kind."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from csbs.api.errors import STATUS, Overloaded, Unexpected, entry_of
from csbs.domain.errors import CsbsError
from csbs.domain.tenancy import LoginsBusy, TooManyFailures

#: All other errors that are not the caller's name parts of the host.
_TOLD = (LoginsBusy, Overloaded, TooManyFailures, Unexpected)
_UNTOLD = "a part of the service does not answer now: try again"


def refuse(error: CsbsError) -> Response:
    """The error as Keystone has it."""
    status = entry_of(STATUS, error)
    body = {"code": status, "title": HTTPStatus(status).phrase, "message": _words(error, status)}
    # No WWW-Authenticate: curl and browsers would ask for a password that nothing here takes.
    return JSONResponse({"error": body}, status)


def _words(error: CsbsError, status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _TOLD):
        return _UNTOLD
    return str(error)
