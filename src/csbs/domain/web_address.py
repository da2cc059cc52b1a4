"""Addresses that a tenant names and the service connects to: what may be reached by them.

The service stands inside: whoever lets it connect to an address of his choice could reach what only
the host itself may.  So the name is checked when it is given, and the addresses that it stands for
each time before one of them is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from csbs.domain.errors import Invalid

URL_SIZE_MAX = 2048

_HOST = re.compile(r"[a-z0-9._-]{1,253}", re.IGNORECASE)
_PATH = re.compile(r"[!-~]*")
#: IPv4 addresses are reached through it where only IPv6 is routed.
_NAT64 = IPv6Network("64:ff9b::/96")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


@dataclass(eq=False)
class InvalidWebhookUrl(Invalid):
    """Not an address that events can be sent to."""

    url: str
    why: str

    template = "{0.url} is no address of a webhook: {0.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """Where a request goes."""

    host: str
    port: int
    tls: bool
    #: With the query.
    path: str

    @property
    def host_header(self) -> str:
        """What the request says that it asks."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.tls else 80
        return host if self.port == usual else f"{host}:{self.port}"


def checked_webhook_url(url: str) -> str:
    """The URL, if events can be sent to it.  Raises `InvalidWebhookUrl`."""
    web_address(url)
    return url


def web_address(url: str) -> WebAddress:
    """Where the URL leads.  Raises `InvalidWebhookUrl`.

    HTTPS, or HTTP to a loopback address: what goes over a network is read there.
    """
    shown = url[:100]
    if len(url) > URL_SIZE_MAX:
        raise InvalidWebhookUrl(shown, f"it has more than {URL_SIZE_MAX} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidWebhookUrl(shown, str(error)) from None
    if parts.username is not None or parts.password is not None:
        # Never shown: it may be a password.
        raise InvalidWebhookUrl("the URL", "a user and password have no place in it")
    _check(parts, shown)
    tls = parts.scheme == "https"
    path = parts.path or "/"
    return WebAddress(
        host=parts.hostname or "",
        port=port or (443 if tls else 80),
        tls=tls,
        path=f"{path}?{parts.query}" if parts.query else path,
    )


def _check(parts: SplitResult, shown: str) -> None:
    host = parts.hostname or ""
    literal = _literal(host)
    if literal is None and not _HOST.fullmatch(host):
        raise InvalidWebhookUrl(shown, "it names no host")
    if parts.scheme == "http":
        if host != "localhost" and not (literal and literal.is_loopback):
            raise InvalidWebhookUrl(shown, "use https: only loopback is reached by http")
    elif parts.scheme != "https":
        raise InvalidWebhookUrl(shown, "it must begin with https://")
    if parts.fragment or not _PATH.fullmatch(f"{parts.path}{parts.query}"):
        raise InvalidWebhookUrl(shown, "write its path in ASCII, and without #")


def why_unreachable(address: str, *, local_allowed: bool) -> str:
    """Why an IP address must not be connected to; empty if it may be.

    `local_allowed`: the operator lets tenants reach the host itself and its link.
    """
    found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_multicast or found.is_unspecified or found in _THIS_NETWORK:
        return f"{address} is no address of one host"
    if not local_allowed and (found.is_loopback or found.is_link_local):
        return f"{address} is local to the service (setting webhook_local_targets)"
    if found.is_reserved and not found.is_loopback:
        return f"{address} is reserved"
    return ""


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _embedded(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(found, IPv4Address):
        return found
    if found in _NAT64:
        return IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.ipv4_mapped or found.sixtofour or found
