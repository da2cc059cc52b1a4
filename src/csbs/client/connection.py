"""Calls to a service: who calls, time limits, and what its refusals mean."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from csbs.client.errors import (
    AnswerUnknown,
    NotOurService,
    PlainHttpRefused,
    ServiceNotTrusted,
    ServiceTooOld,
    ServiceUnreachable,
    UrlInvalid,
    told,
)
from csbs.documents.base import Body, Document, Page, Refusal
from csbs.domain.clock import Sleep, sleep
from csbs.domain.errors import CsbsError
from csbs.domain.listing import PAGE_SIZE_MAX

if TYPE_CHECKING:
    from typing import Self

D = TypeVar("D", bound=Document)
P = TypeVar("P", bound=Page)

_CONNECT_MAX_S = 10.0
#: Most calls answer at once; those that wait for a guest say so.
_ANSWER_MAX_S = 60.0
#: Before a read is tried again.
_PAUSES_S = (0.2, 0.8)
_PREFIX = "/native/v1"


class Credentials(Protocol):
    """Proves who calls."""

    def sign(self, request: httpx.Request) -> None:
        """Adds the proof to a request."""

    def renew(self) -> bool:
        """After a proof was refused: whether there is another one now."""

    def lost(self, url: str, refused: CsbsError) -> CsbsError:
        """What it means that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is, and what proves that it is the one."""

    url: str
    ca_file: str = ""
    insecure_http: bool = False

    def checked(self) -> Self:
        """The address, if a service can be there.  Raises `UrlInvalid`, `PlainHttpRefused`."""
        try:
            parts = urlsplit(self.url)
            host, _port = parts.hostname, parts.port
        except ValueError as error:
            raise UrlInvalid(self.url, str(error)) from error
        if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
            raise UrlInvalid(self.url, "it must be like https://backup.example:8774")
        if parts.username is not None:
            raise UrlInvalid(parts.hostname or "", "leave the user out: --user names him")
        if parts.scheme == "http" and not self.insecure_http and not _is_loopback(host):
            raise PlainHttpRefused(self.url)
        return self


def open_http(address: Address) -> httpx.Client:
    """The HTTP client of a service; close it.  Raises `UrlInvalid`, `PlainHttpRefused`."""
    address.checked()
    return httpx.Client(
        base_url=address.url,
        verify=_trusted(address),
        timeout=httpx.Timeout(_ANSWER_MAX_S, connect=_CONNECT_MAX_S),
        # A proxy or a netrc of the environment would get our tokens, or put others in.
        trust_env=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Calls of the native API; each raises what went wrong here or there."""

    address: Address
    http: httpx.Client
    credentials: Credentials
    sleep: Sleep = sleep

    def get(
        self,
        kind: type[D],
        *path: str,
        query: Mapping[str, str | int | Sequence[str]] | None = None,
        within_s: float = _ANSWER_MAX_S,
    ) -> D:
        """Reads; tried again a few times while the service does not answer."""

        def send() -> httpx.Response:
            return self._send("GET", path, query=query, within_s=within_s)

        for pause_s in _PAUSES_S:
            try:
                return self._document(kind, send())
            except ServiceUnreachable:
                self.sleep(pause_s)
        return self._document(kind, send())

    def all_of(
        self,
        kind: type[P],
        *path: str,
        query: Mapping[str, str | int] | None = None,
    ) -> Iterator[P]:
        """All pages of a list, one after another."""
        after: dict[str, str | int] = {"limit": PAGE_SIZE_MAX}
        while True:
            page = self.get(kind, *path, query=after | dict(query or {}))
            yield page
            if page.next is None:
                return
            after["after"] = page.next

    def ask(
        self,
        method: str,
        kind: type[D],
        *path: str,
        body: Body | None = None,
        within_s: float = _ANSWER_MAX_S,
    ) -> D:
        """Changes something, once, and returns what the service says of it."""
        return self._document(kind, self._send(method, path, body=body, within_s=within_s))

    def tell(self, method: str, *path: str, body: Body | None = None) -> None:
        """Changes something of which the service says nothing."""
        self._send(method, path, body=body)

    def _send(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        body: Body | None = None,
        query: Mapping[str, str | int | Sequence[str]] | None = None,
        within_s: float = _ANSWER_MAX_S,
    ) -> httpx.Response:
        response = self._sent(method, path, body, query, within_s)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            if not self.credentials.renew():
                refused = refusal(self.address.url, response)
                raise self.credentials.lost(self.address.url, refused)
            response = self._sent(method, path, body, query, within_s)
        if response.is_success:
            return response
        raise refusal(self.address.url, response)

    def _sent(
        self,
        method: str,
        path: tuple[str, ...],
        body: Body | None,
        query: Mapping[str, str | int | Sequence[str]] | None,
        within_s: float,
    ) -> httpx.Response:
        request = self.http.build_request(
            method,
            "/".join((_PREFIX, *(quote(part, safe="") for part in path))),
            params=query,
            json=None if body is None else body.model_dump(mode="json", exclude_none=True),
            timeout=httpx.Timeout(within_s, connect=_CONNECT_MAX_S),
        )
        self.credentials.sign(request)
        return sent(self.address.url, self.http, request)

    def _document(self, kind: type[D], response: httpx.Response) -> D:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "its body"
            raise AnswerUnknown(self.address.url, response.request.url.path, where) from error


def sent(url: str, http: httpx.Client, request: httpx.Request) -> httpx.Response:
    """The answer, whatever it is.  Raises `ServiceUnreachable`, `ServiceNotTrusted`."""
    try:
        return http.send(request)
    except httpx.TimeoutException as error:
        raise ServiceUnreachable(url, "it does not answer in time") from error
    except httpx.HTTPError as error:
        why = _innermost(error)
        if isinstance(why, ssl.SSLCertVerificationError):
            raise ServiceNotTrusted(url, why.verify_message) from error
        raise ServiceUnreachable(url, _reason(why)) from error


def refusal(url: str, response: httpx.Response) -> CsbsError:
    """What an answer from 300 on means."""
    path = response.request.url.path
    try:
        error = Refusal.model_validate_json(response.content).error
    except ValidationError:
        return NotOurService(url, f"it answers {path} with status {response.status_code}")
    if response.status_code in _NO_SUCH_CALL and error.object == path:
        return ServiceTooOld(url, path)
    return told(error.kind, error.object, error.message)


_NO_SUCH_CALL = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


def _trusted(address: Address) -> ssl.SSLContext | bool:
    if address.url.startswith("http:"):
        return False
    try:
        return ssl.create_default_context(cafile=address.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or str(error)
        raise ServiceNotTrusted(address.url, f"{address.ca_file} cannot be read ({why})") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _innermost(error: BaseException) -> BaseException:
    """Httpx wraps what it got from httpcore, which wraps what the system said."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it speaks no TLS ({error.reason or error})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


JsonObject = dict[str, Any]
