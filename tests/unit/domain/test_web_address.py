"""What a tenant may have the service connect to."""

from __future__ import annotations

import pytest

from csbs.domain.web_address import (
    InvalidWebhookUrl,
    WebAddress,
    checked_webhook_url,
    web_address,
    why_unreachable,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "https://hooks.example/a/b?c=d",
            WebAddress(host="hooks.example", port=443, tls=True, path="/a/b?c=d"),
        ),
        (
            "https://hooks.example:8443",
            WebAddress(host="hooks.example", port=8443, tls=True, path="/"),
        ),
        ("https://10.0.0.5/x", WebAddress(host="10.0.0.5", port=443, tls=True, path="/x")),
        ("https://[2001:db8::1]/", WebAddress(host="2001:db8::1", port=443, tls=True, path="/")),
        ("http://127.0.0.1:9/", WebAddress(host="127.0.0.1", port=9, tls=False, path="/")),
        ("http://localhost/", WebAddress(host="localhost", port=80, tls=False, path="/")),
        ("http://[::1]:9/", WebAddress(host="::1", port=9, tls=False, path="/")),
    ],
)
def test_urls_lead_somewhere(url: str, address: WebAddress) -> None:
    assert web_address(url) == address
    assert checked_webhook_url(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/", "https"),
        ("http://10.0.0.1/", "https"),
        ("ftp://hooks.example/", "must begin with https"),
        ("hooks.example", "names no host"),
        ("https://", "names no host"),
        ("https://exa mple/", "names no host"),
        ("https://user:secret@hooks.example/", "no place in it"),
        ("https://hooks.example:99999/", "out of range"),
        ("https://hooks.example/#there", "without #"),
        ("https://hooks.example/\u00fc", "ASCII"),
        ("https://hooks.example/a b", "ASCII"),
        ("https://h/" + "x" * 2048, "more than"),
        ("https://[::1/", "Invalid IPv6"),
        ("", "names no host"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidWebhookUrl, match=why) as caught:
        checked_webhook_url(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "10.1.2.3", "192.168.0.9", "172.16.0.1", "2a00::1", "fd00::1"]
)
def test_hosts_and_private_networks_are_reached(address: str) -> None:
    assert not why_unreachable(address, local_allowed=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_what_is_local_is_reached_only_if_the_operator_lets(address: str) -> None:
    assert "local to the service" in why_unreachable(address, local_allowed=False)
    assert not why_unreachable(address, local_allowed=True)


@pytest.mark.parametrize("address", ["0.0.0.1", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_no_host_is_never_reached(address: str) -> None:
    assert why_unreachable(address, local_allowed=True)


def test_the_host_header_has_the_port_where_it_is_unusual() -> None:
    assert web_address("https://h.example/").host_header == "h.example"
    assert web_address("https://h.example:8443/").host_header == "h.example:8443"
    assert web_address("https://[2001:db8::1]:8443/").host_header == "[2001:db8::1]:8443"
