"""What servers say, and which of our errors it is."""

from __future__ import annotations

import pytest

from csbs.domain.errors import CsbsError
from csbs.repository.errors import (
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreMissing,
    StoreTimeout,
    StoreUnavailable,
)
from csbs.repository.objectstore.s3_errors import Call, error_of

CALL = Call(store="s3://backups", doing="put", key="packs/ab", timeout_s=5, size_bytes=7)


def answer(status: str, code: str, message: str = "Words of the server.") -> str:
    """The client's text for such an answer."""
    return (
        "Generic S3 error: Error performing PUT http://127.0.0.1:1/backups/packs/ab in 1ms - "
        f'Server returned non-2xx status code: {status}: <?xml version="1.0"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>\n\nDebug source:\n..."
    )


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("404 Not Found", "NoSuchKey", ObjectNotFound),
        ("404 Not Found", "NoSuchBucket", StoreMissing),
        ("403 Forbidden", "AccessDenied", StoreDenied),
        ("401 Unauthorized", "", StoreDenied),
        ("403 Forbidden", "InvalidAccessKeyId", StoreDenied),
        ("403 Forbidden", "RequestTimeTooSkewed", StoreDenied),
        ("400 Bad Request", "AuthorizationHeaderMalformed", StoreDenied),
        ("301 Moved Permanently", "PermanentRedirect", StoreDenied),
        ("501 Not Implemented", "NotImplemented", StoreDenied),
        ("403 Forbidden", "QuotaExceeded", StoreFull),
        ("507 Insufficient Storage", "XMinioStorageFull", StoreFull),
        ("507 Insufficient Storage", "", StoreFull),
        ("400 Bad Request", "RequestTimeout", StoreUnavailable),
        ("409 Conflict", "ConditionalRequestConflict", StoreUnavailable),
        ("429 Too Many Requests", "SlowDown", StoreUnavailable),
        ("500 Internal Server Error", "InternalError", StoreUnavailable),
        ("503 Service Unavailable", "SlowDown", StoreUnavailable),
    ],
)
def test_an_answer_is_the_error_that_says_what_to_do(
    status: str, code: str, expected: type[CsbsError]
) -> None:
    error = error_of(answer(status, code), CALL)

    assert type(error) is expected
    assert "packs/ab" in str(error) or "s3://backups" in str(error)


def test_a_denial_names_call_object_store_and_what_the_server_said() -> None:
    error = error_of(answer("403 Forbidden", "AccessDenied"), CALL)

    assert str(error) == (
        "no right to use the store s3://backups: AccessDenied: Words of the server (put packs/ab)"
    )


def test_clocks_that_differ_are_named_as_the_cause() -> None:
    error = error_of(answer("403 Forbidden", "RequestTimeTooSkewed"), CALL)

    assert "set the clocks (NTP)" in str(error)


def test_a_connection_that_fails_says_why() -> None:
    text = (
        "Generic S3 error: Error performing PUT http://127.0.0.1:9/b/k in 1ms - HTTP error: error "
        'sending request\n\nDebug source:\n kind: ConnectionRefused, message: "Connection refused"'
    )

    error = error_of(text, CALL)

    assert isinstance(error, StoreUnavailable)
    assert error.why == "Connection refused: HTTP error: error sending request"


def test_a_silent_server_is_a_timeout() -> None:
    text = "Generic S3 error: ... - HTTP error: operation timed out\n\nDebug source: ..."

    assert isinstance(error_of(text, CALL), StoreTimeout)
