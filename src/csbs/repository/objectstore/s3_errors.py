"""What an S3 server or the way to it says went wrong, as an error of ours.

The client has a class for some of it only (a listing that is denied is "generic" to it), but its
text always has the status and the server's XML, which name the cause:

    ... Server returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code>...
    ... HTTP error: error sending request      (and, behind "Debug source", the cause)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from csbs.domain.errors import CsbsError
from csbs.repository.errors import (
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreMissing,
    StoreTimeout,
    StoreUnavailable,
    StoreUnsuitable,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
#: Of the debug text: what the system said of a connection.
_CAUSE = re.compile(r'message: "([^"]*)"')
_FOREIGN_KEY = re.compile(r'object with invalid path: Path "([^"]*)"')
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_DEBUG = "Debug source:"
_WHY_SIZE_MAX = 300

_CLOCK_CODES = {"RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired"}
_FULL_CODES = {
    "QuotaExceeded",
    "QuotaExceededException",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientStorage",
    "InsufficientCapacity",
}
#: Come with a status of 400, and are over when the request is sent again.
_PASSING_CODES = {"RequestTimeout", "IncompleteBody", "BadDigest", "SlowDown", "OperationAborted"}
_HTTP_NOT_FOUND = 404
_HTTP_RANGE = 416
_HTTP_FULL = 507
_HTTP_NOT_IMPLEMENTED = 501
_HTTP_REFUSED = range(300, 500)
#: Request timeout, conflict with another request, too early, too many requests.
_HTTP_PASSING = {408, 409, 425, 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call that failed, for its error."""

    store: str
    doing: str
    key: str
    timeout_s: float
    size_bytes: int = 0


def is_behind_the_end(text: str) -> bool:
    """Whether the range that was asked for begins behind the object's end."""
    return _status(text) == _HTTP_RANGE


def names_a_cause(text: str) -> bool:
    """Whether the server said why: an answer to HEAD has no text."""
    return _CODE.search(text) is not None


def error_of(text: str, call: Call) -> CsbsError:
    """The error that the client's text tells of."""
    status, code = _status(text), _first(_CODE, text)
    if code == "NoSuchBucket":
        return StoreMissing(call.store, "there is no such bucket; make it, or set store_url anew")
    if status == _HTTP_NOT_FOUND:
        return ObjectNotFound(call.key)
    if code in _FULL_CODES or status == _HTTP_FULL:
        return StoreFull(call.store, 0, max(call.size_bytes, 1))
    if code in _CLOCK_CODES:
        why = "its clock and this host's differ too much: set the clocks (NTP)"
        return StoreDenied(call.store, f"{why} ({code}, {call.doing} {call.key})")
    foreign = _FOREIGN_KEY.search(text)
    if foreign:  # such as a//b: the client gives up the whole listing
        why = f"remove the foreign object {foreign[1]}: its key cannot be passed over"
        return StoreUnsuitable(call.store, why)
    certificate = _CERTIFICATE.search(text)
    if certificate:
        why = f"its certificate is not trusted ({certificate[1]}); set s3_ca_file"
        return StoreUnsuitable(call.store, why)
    if not status and ("timed out" in text or "Timeout" in text):
        return StoreTimeout(call.store, call.doing, call.key, call.timeout_s)
    if not status or _is_passing(status, code):
        return StoreUnavailable(f"{call.store} ({call.doing} {call.key})", _why(text))
    return StoreDenied(call.store, f"{_why(text)} ({call.doing} {call.key})")


def _is_passing(status: int, code: str) -> bool:
    if status == _HTTP_NOT_IMPLEMENTED:
        return False
    return code in _PASSING_CODES or status in _HTTP_PASSING or status not in _HTTP_REFUSED


def _why(text: str) -> str:
    """One line for a person."""
    code, message = _first(_CODE, text), _first(_MESSAGE, text)
    said, _, debug = text.partition(_DEBUG)
    if not code:
        message = " ".join(said.rpartition(" - ")[2].split())
        cause = _CAUSE.search(debug)
        code = cause[1] if cause else ""
    return ": ".join(part for part in (code, message.rstrip(".")) if part)[:_WHY_SIZE_MAX]


def _status(text: str) -> int:
    found = _STATUS.search(text.partition(_DEBUG)[0])
    return int(found[1]) if found else 0


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text.partition(_DEBUG)[0])
    return found[1] if found else ""
