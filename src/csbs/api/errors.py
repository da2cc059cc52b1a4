"""Refusals that only HTTP knows, and how a room translates all errors by one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from csbs.domain.errors import (
    Cancelled,
    Conflict,
    Corrupt,
    CsbsError,
    Denied,
    FolderDenied,
    HypervisorDenied,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)
from csbs.domain.tenancy import LoginsBusy, NotAuthenticated, TooManyFailures
from csbs.repository.errors import StoreDenied, WrongKey
from csbs.services.causes import cause

Entry = TypeVar("Entry")


@dataclass(eq=False)
class RequestInvalid(Invalid):
    """A part of the request is missing, or is not what it must be."""

    part: str
    why: str

    template = "{0.part}: {0.why}"


@dataclass(eq=False)
class RouteUnknown(NotFound):
    """No call has this path."""

    path: str

    template = "there is nothing at {0.path}"


@dataclass(eq=False)
class MethodUnknown(Invalid):
    """Calls with this path have other methods."""

    path: str
    method: str

    template = "{0.path} takes no {0.method}"


@dataclass(eq=False)
class BodyTooLarge(Invalid):
    """More than any call needs."""

    path: str
    max_bytes: int

    template = "the body of a request to {0.path} may have {0.max_bytes} bytes"


@dataclass(eq=False)
class BodyTooDeep(Invalid):
    """Objects and lists within each other, more than any call needs."""

    path: str
    max_depth: int

    template = "the JSON of a request to {0.path} may be {0.max_depth} levels deep"


@dataclass(eq=False)
class RequestTooSlow(Invalid):
    """The body did not come in time."""

    path: str
    max_s: float

    template = "the body of a request to {0.path} must come within {0.max_s:g} s"


@dataclass(eq=False)
class Overloaded(Unavailable):
    """More requests at once than this service takes."""

    service: str

    template = "{0.service} has as many requests as it can take: try again"


@dataclass(eq=False)
class Unexpected(CsbsError):
    """A fault of csbs; its log has the rest, by the id of the request."""

    request_id: str

    template = "unexpected error; the log of the service has it under {0.request_id}"


#: HTTP status of each kind, for rooms without a protocol of their own.
STATUS: dict[type[CsbsError], int] = {
    NotAuthenticated: 401,
    # The service lacks a right, not the caller.
    FolderDenied: 503,
    HypervisorDenied: 503,
    StoreDenied: 503,
    WrongKey: 503,
    Denied: 403,
    RouteUnknown: 404,
    NotFound: 404,
    MethodUnknown: 405,
    RequestTooSlow: 408,
    BodyTooLarge: 413,
    Invalid: 400,
    Conflict: 409,
    Refused: 409,
    Cancelled: 409,
    Unavailable: 503,
    Corrupt: 500,
    CsbsError: 500,
}


def entry_of(table: Mapping[type[CsbsError], Entry], error: CsbsError | type[CsbsError]) -> Entry:
    """What the table has for the error's class, or for the nearest class above it."""
    found = error if isinstance(error, type) else type(error)
    return next(table[each] for each in found.__mro__ if each in table)


#: All other errors that are not the caller's name parts of the host.
_TOLD = (LoginsBusy, Overloaded, TooManyFailures, Unexpected)


def words_for_tenants(error: CsbsError) -> str:
    """The error's sentence; of a part of the host that failed none of its own words."""
    is_of_the_host = entry_of(STATUS, error) >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_of_the_host and not isinstance(error, _TOLD):
        return cause(type(error).__name__, str(error))
    return str(error)
