"""Tokens: given, looked at, revoked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import JSONResponse, Response

from csbs.api.context import Known, public_url, region_of, remote_address
from csbs.api.errors import RequestInvalid
from csbs.api.identity_v3.bodies import LoginBody, PasswordLogin, login_of, scope_of
from csbs.api.identity_v3.catalog import catalog
from csbs.api.identity_v3.documents import DOMAIN, moment, role_document
from csbs.api.json_body import read_body
from csbs.domain.tenancy import NotAllowed, NotAuthenticated, Role, TokenNotFound
from csbs.services.identity import Session

router = APIRouter()

_CREATED, _NO_CONTENT = 201, 204
_SUBJECT = "X-Subject-Token"

Subject = Annotated[str | None, Header(alias=_SUBJECT, max_length=512)]


@router.post("/auth/tokens")
def create_token(request: Request) -> Response:
    """Gives a token for a password or for another token, whatever the body is said to be."""
    identity = region_of(request).identity
    body = read_body(LoginBody, request.state.body)
    login, scope = login_of(body), scope_of(body)
    if isinstance(login, PasswordLogin):
        request.state.user_name = login.user
        token, session = identity.log_in(
            login.user, login.password, scope, address=remote_address(request)
        )
    else:
        token, session = identity.rescope(login.token, scope)
    request.state.user_name = session.user.name
    return JSONResponse(_document(request, session), _CREATED, {_SUBJECT: token})


@router.api_route("/auth/tokens", methods=["GET", "HEAD"])
def show_token(here: Known, request: Request, subject: Subject = None) -> Response:
    """What a token stands for; the caller's own, or any for an administrator."""
    token, session = _subject(here, request, subject)
    return JSONResponse(_document(request, session), headers={_SUBJECT: token})


@router.delete("/auth/tokens")
def revoke_token(here: Known, request: Request, subject: Subject = None) -> Response:
    """Ends a token."""
    token, _session = _subject(here, request, subject)
    here.region.identity.revoke(token)
    return Response(status_code=_NO_CONTENT)


def _subject(here: Known, request: Request, subject: str | None) -> tuple[str, Session]:
    """The token that is asked about; without the header that of the request itself."""
    token = subject or request.headers.get("x-auth-token")
    if not token:
        raise RequestInvalid(_SUBJECT, "is missing")
    try:
        session = here.region.identity.session(token)
    except NotAuthenticated:
        # 401 would say that of the caller's own, and SDKs would log in again and again.
        raise TokenNotFound from None
    if session.user.id != here.user.id and not here.caller.may(Role.ADMIN):
        raise NotAllowed("a token of another user", Role.ADMIN)
    return token, session


def _document(request: Request, session: Session) -> dict[str, Any]:
    region = region_of(request).name
    token: dict[str, Any] = {
        "methods": list(session.methods),
        "issued_at": moment(session.issued_at),
        "expires_at": moment(session.expires_at),
        "user": {"id": session.user.id, "name": session.user.name, "domain": DOMAIN},
        "roles": [role_document(role) for role in sorted(session.roles)],
    }
    if session.project is not None:
        project = session.project
        token["project"] = {"id": project.id, "name": project.name, "domain": DOMAIN}
    elif session.of_domain:
        token["domain"] = DOMAIN
    if "nocatalog" not in request.query_params:
        own = session.project.id if session.project else None
        token["catalog"] = catalog(public_url(request), region, own)
    return {"token": token}
