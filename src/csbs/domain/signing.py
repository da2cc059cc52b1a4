"""Signed requests: what SDKs of that cloud send instead of a token.

    Authorization: SDK-HMAC-SHA256 Access=<key>, SignedHeaders=<list>, Signature=<hex>
    Authorization: SDK-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/sdk_request, ...

The first is the direct form, the second the scoped one; docs/reference/identity-api.md has the
rules, and what each client signs.  Nothing here knows whether a key exists.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from csbs.domain.tenancy import AccessKeyId, NotAuthenticated

ALGORITHM = "SDK-HMAC-SHA256"
#: How far the clocks of caller and service may be apart.  For so long a signature is remembered.
SKEW_MAX = timedelta(minutes=15)

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_SCOPE_END = "sdk_request"
_HEADERS_MAX = 50
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request as it came over the wire."""

    method: str
    #: Still percent-encoded, without the query.
    raw_path: str
    raw_query: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What an `Authorization` header says."""

    access_key: AccessKeyId
    signed_headers: tuple[str, ...]
    hex_digest: str
    #: `<date>/<region>/<service>/sdk_request`; None in the direct form.
    scope: str | None


def is_signed(request: SentRequest) -> bool:
    """Whether it carries a signature at all, good or bad."""
    return request.headers.get("authorization", "").startswith(ALGORITHM)


def parse_signature(authorization: str) -> Signature:
    """The parts of the header.  Raises `NotAuthenticated` if it is none of both forms."""
    fields = dict(
        part.strip().partition("=")[::2]
        for part in authorization.removeprefix(ALGORITHM).split(",")
    )
    names = tuple(name.lower() for name in fields.get("SignedHeaders", "").split(";") if name)
    digest = fields.get("Signature", "")
    if not names or len(names) > _HEADERS_MAX or not _SIGNATURE.fullmatch(digest):
        raise NotAuthenticated("the Authorization header cannot be read")
    access_key, _, scope = fields.get("Credential", "").partition("/")
    if scope:
        # <date>/<region>/<service>/sdk_request, where region and service may be empty.
        parts = scope.split("/")
        if len(parts) == 4 and parts[3] == _SCOPE_END:  # noqa: PLR2004  the four parts above
            return _signature(access_key, names, digest, scope)
    elif fields.get("Access"):
        return _signature(fields["Access"], names, digest, None)
    raise NotAuthenticated("the Authorization header cannot be read")


def _signature(key: str, names: tuple[str, ...], digest: str, scope: str | None) -> Signature:
    return Signature(
        access_key=AccessKeyId(key), signed_headers=names, hex_digest=digest, scope=scope
    )


def check_signature(
    request: SentRequest, signature: Signature, secret: str, *, now: datetime
) -> None:
    """Raises `NotAuthenticated` unless the secret's holder signed this request, and lately."""
    date = request.headers.get("x-sdk-date", "")
    try:
        signed_at = datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise NotAuthenticated("X-Sdk-Date must be like 20310506T070809Z") from None
    if abs(now - signed_at) > SKEW_MAX:
        minutes = SKEW_MAX // timedelta(minutes=1)
        raise NotAuthenticated(f"X-Sdk-Date is more than {minutes} minutes from our clock")
    if signature.scope is not None and not signature.scope.startswith(date[:8] + "/"):
        raise NotAuthenticated("the date of the credential is not that of X-Sdk-Date")
    key = _signing_key(secret, signature.scope)
    matches = [
        hmac.compare_digest(_hmac(key, text).hex(), signature.hex_digest)
        for text in _texts_to_sign(request, signature, date)
    ]
    if not any(matches):
        raise NotAuthenticated("the signature is wrong")


def sign(
    request: SentRequest, access_key: AccessKeyId, secret: str, *, now: datetime
) -> dict[str, str]:
    """The headers that sign the request in the direct form: all that it has, and the time."""
    date = now.strftime(_DATE_FORMAT)
    headers = dict(request.headers) | {"x-sdk-date": date}
    names = tuple(sorted(headers))
    dated = replace(request, headers=headers)
    unsigned = Signature(access_key=access_key, signed_headers=names, hex_digest="", scope=None)
    text = next(_texts_to_sign(dated, unsigned, date))
    digest = _hmac(_signing_key(secret, None), text).hex()
    listed = ";".join(names)
    authorization = f"{ALGORITHM} Access={access_key}, SignedHeaders={listed}, Signature={digest}"
    return {"X-Sdk-Date": date, "Authorization": authorization}


def _signing_key(secret: str, scope: str | None) -> bytes:
    if scope is None:
        return secret.encode()
    key = b"SDK" + secret.encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _texts_to_sign(request: SentRequest, signature: Signature, date: str) -> Iterator[str]:
    """The usual text, then what two SDKs make of requests that they sign in their own way."""
    pairs = _query_pairs(request.raw_query)
    digest = _body_digest(request)
    variants = [(_query_text(pairs), digest)]
    first_values = list(dict(reversed(pairs)).items())
    if len(first_values) < len(pairs):  # of a repeated parameter the first value is signed
        variants.append((_query_text(first_values), digest))
    if pairs and request.method == "POST" and not request.body:  # the query is signed as the body
        variants.append(("", hashlib.sha256(_query_text(pairs).encode()).hexdigest()))
    for query, payload in variants:
        canonical = _canonical(request, signature.signed_headers, query, payload)
        lines = [ALGORITHM, date]
        lines += [] if signature.scope is None else [signature.scope]
        yield "\n".join((*lines, hashlib.sha256(canonical.encode()).hexdigest()))


def _canonical(request: SentRequest, names: Sequence[str], query: str, payload: str) -> str:
    missing = [name for name in names if name not in request.headers]
    if missing:
        raise NotAuthenticated(f"the signed header {missing[0]} is missing")
    segments = [_quoted(unquote_to_bytes(part)) for part in request.raw_path.split("/")]
    path = "/".join(segments)
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    return "\n".join(
        (
            request.method.upper(),
            path if path.endswith("/") else path + "/",
            query,
            headers,
            ";".join(names),
            payload,
        )
    )


def _body_digest(request: SentRequest) -> str:
    digest = hashlib.sha256(request.body).hexdigest()
    told = request.headers.get("x-sdk-content-sha256")
    if told is None or told == digest:
        return digest
    if told == _UNSIGNED and not request.body:
        return told
    raise NotAuthenticated("X-Sdk-Content-Sha256 is not that of the body")


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in raw_query.split("&") if part]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in parts]


def _query_text(pairs: Sequence[tuple[str, str]]) -> str:
    quoted = [(_quoted(name.encode()), _quoted(value.encode())) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(quoted))


def _quoted(text: bytes) -> str:
    return quote(text, safe="-._~")
