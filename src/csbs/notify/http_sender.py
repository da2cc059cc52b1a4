"""Webhooks over HTTP, to addresses that tenants choose.

The name is resolved here, each address is checked (`csbs.domain.web_address`), and the one that was
checked is connected to: a name that stands for another address a moment later gains nothing.
Redirects are not followed, proxies of the environment not used, and of the answer only the status
is read.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from csbs.domain.notification import SendFailure
from csbs.domain.web_address import InvalidWebhookUrl, WebAddress, web_address, why_unreachable
from csbs.domain.webhook import is_final
from csbs.notify.time_limit import cut_after

_OK_MIN, _OK_MAX = 200, 299
_ERROR_SIZE_MAX = 300


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How receivers are reached."""

    #: For one post, from the connection to the status.
    time_max_s: float = 10.0
    #: Tenants may have events sent to the host itself, and to its link.
    local_allowed: bool = False
    #: File of certificates that are trusted besides the system's.
    ca_file: str = ""
    user_agent: str = "csbs"


class HttpSender:
    """See `WebhookSender`."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendFailure | None:
        """See `WebhookSender.post`."""
        try:
            return self._post(web_address(url), body, headers)
        except InvalidWebhookUrl as error:
            return SendFailure(str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            # A socket that was cut at the limit tells it in several ways.
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return SendFailure(said[:_ERROR_SIZE_MAX])

    def why_refused(self, url: str) -> str:
        """See `WebhookSender.why_refused`."""
        host = web_address(url).host
        try:
            return why_unreachable(
                "127.0.0.1" if host == "localhost" else host,
                local_allowed=self._options.local_allowed,
            )
        except ValueError:  # a name: known when it is resolved
            return ""

    def _post(
        self, address: WebAddress, body: bytes, headers: Mapping[str, str]
    ) -> SendFailure | None:
        found = _addresses(address)
        refused = {each: self._why_refused(each, address) for each in found}
        allowed = [each for each in found if not refused[each]]
        if not allowed:
            return SendFailure("; ".join(refused.values()) or f"{address.host} has no address")
        with self._connected(allowed, address) as connection:
            status = _status_of(connection, address, body, self._headers(headers))
        if _OK_MIN <= status <= _OK_MAX:
            return None
        return SendFailure(f"the receiver answered {status}", final=is_final(status))

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": self._options.user_agent,
            **headers,
        }

    def _why_refused(self, found: str, address: WebAddress) -> str:
        if not address.tls and not ip_address(found.partition("%")[0]).is_loopback:
            return f"{found} is not loopback: use https"
        return why_unreachable(found, local_allowed=self._options.local_allowed)

    @contextmanager
    def _connected(
        self, allowed: list[str], address: WebAddress
    ) -> Iterator[http.client.HTTPConnection]:
        """A connection to the first that answers; all of it is cut at the limit of time."""
        time_max_s = self._options.time_max_s
        plain = _connect(allowed, address.port, time_max_s / len(allowed))
        with plain, cut_after(plain, time_max_s):
            plain.settimeout(time_max_s)
            connection = http.client.HTTPConnection(address.host, address.port)
            if address.tls:
                connection.sock = self._tls.wrap_socket(plain, server_hostname=address.host)
            else:
                connection.sock = plain
            try:
                yield connection
            finally:
                connection.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._options.ca_file:
            context.load_verify_locations(self._options.ca_file)
        return context


def _addresses(address: WebAddress) -> list[str]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _connect(allowed: list[str], port: int, time_max_s: float) -> socket.socket:
    for each in allowed[:-1]:
        with suppress(OSError):
            return socket.create_connection((each, port), time_max_s)
    return socket.create_connection((allowed[-1], port), time_max_s)


def _status_of(
    connection: http.client.HTTPConnection,
    address: WebAddress,
    body: bytes,
    headers: Mapping[str, str],
) -> int:
    connection.putrequest("POST", address.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", address.host_header)
    connection.putheader("Content-Length", str(len(body)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Connection", "close")
    connection.endheaders(body)
    return connection.getresponse().status
