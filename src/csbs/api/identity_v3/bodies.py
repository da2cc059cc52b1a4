"""What a login asks for, in the shapes that clients send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from csbs.api.errors import RequestInvalid
from csbs.domain.tenancy import DOMAIN_ID, DOMAIN_NAME, NotAuthenticated
from csbs.services.identity import ScopeAsked

_TEXT_MAX = 512


class _Lenient(BaseModel):
    # Clients send more than they need (`tenantName`, `nocatalog` ...), and Keystone lets them.
    model_config = ConfigDict(extra="ignore")


class _Reference(_Lenient):
    id: str | None = Field(None, max_length=_TEXT_MAX)
    name: str | None = Field(None, max_length=_TEXT_MAX)


class _InDomain(_Reference):
    domain: _Reference | None = None


class _User(_InDomain):
    password: str = Field(max_length=_TEXT_MAX)


class _Password(_Lenient):
    user: _User


class _Token(_Lenient):
    id: str = Field(max_length=_TEXT_MAX)


class _Identity(_Lenient):
    methods: list[str] = Field(max_length=10)
    password: _Password | None = None
    token: _Token | None = None


class _Scope(_Lenient):
    project: _InDomain | None = None
    domain: _Reference | None = None


class _Auth(_Lenient):
    identity: _Identity
    scope: _Scope | Literal["unscoped"] | None = None


class LoginBody(_Lenient):
    """The body of `POST /v3/auth/tokens`."""

    auth: _Auth


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordLogin:
    """A user by id or name, and the password."""

    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogin:
    """Another token."""

    token: str


def login_of(body: LoginBody) -> PasswordLogin | TokenLogin:
    """How the caller proves who he is.

    Raises `RequestInvalid` where that cannot be seen, `NotAuthenticated` for users of a domain
    that is not here.
    """
    identity = body.auth.identity
    if "password" in identity.methods and identity.password is not None:
        user = identity.password.user
        _require_domain(user.domain)
        named = user.id or user.name
        if not named:
            raise RequestInvalid("auth.identity.password.user", "has neither id nor name")
        return PasswordLogin(user=named, password=user.password)
    if "token" in identity.methods and identity.token is not None:
        return TokenLogin(token=identity.token.id)
    raise RequestInvalid("auth.identity.methods", "must be password or token, with its object")


def scope_of(body: LoginBody) -> ScopeAsked:
    """What the token is to be for.  Raises `RequestInvalid`, `NotAuthenticated`."""
    scope = body.auth.scope
    if not isinstance(scope, _Scope):
        return ScopeAsked()
    if scope.project is not None:
        _require_domain(scope.project.domain)
        named = scope.project.id or scope.project.name
        if not named:
            raise RequestInvalid("auth.scope.project", "has neither id nor name")
        return ScopeAsked(project=named)
    if scope.domain is not None:
        _require_domain(scope.domain)
        return ScopeAsked(of_domain=True)
    return ScopeAsked()


def _require_domain(domain: _Reference | None) -> None:
    """There is one domain.  `default` is its id in most clouds, so clients send it unasked."""
    known = {None, "", DOMAIN_ID, DOMAIN_NAME.lower()}
    for told in (domain.id, domain.name) if domain else ():
        if (told and told.lower()) not in known:
            raise NotAuthenticated(f"there is no domain {told!r}")
