"""Webhooks to a real receiver that fails, hangs, answers late, redirects."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.notification import SendFailure
from csbs.notify import HttpOptions, HttpSender
from csbs.testing.ports import free_ports
from csbs.testing.receiver import Answer, Receiver, receiver_running
from csbs.testing.tls import SelfSigned, self_signed

BODY = b'{"a":1}'
HEADERS = {"webhook-id": "e1"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiver_running() as running:
        yield running


@pytest.fixture
def sender() -> HttpSender:
    return HttpSender(HttpOptions(local_allowed=True, time_max_s=5, user_agent="csbs/1"))


@pytest.fixture
def hasty() -> HttpSender:
    """Its limit is met in these tests."""
    return HttpSender(HttpOptions(local_allowed=True, time_max_s=0.3))


def post(sender: HttpSender, url: str) -> SendFailure | None:
    return sender.post(url, BODY, HEADERS)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_is_taken_is_sent(sender: HttpSender, receiver: Receiver, status: int) -> None:
    receiver.answers = [Answer(status)]

    assert post(sender, receiver.url + "?a=b") is None

    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/hook?a=b", BODY)
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "csbs/1"
    assert request.headers["webhook-id"] == "e1"


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_what_is_not_taken_can_be_sent_again(
    sender: HttpSender, receiver: Receiver, status: int
) -> None:
    receiver.answers = [Answer(status)]

    assert post(sender, receiver.url) == SendFailure(f"the receiver answered {status}")


def test_what_is_refused_for_good_is_not(sender: HttpSender, receiver: Receiver) -> None:
    receiver.answers = [Answer(422)]

    assert post(sender, receiver.url) == SendFailure("the receiver answered 422", final=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(sender: HttpSender, receiver: Receiver, status: int) -> None:
    with receiver_running() as other:
        receiver.answers = [Answer(status, (("Location", other.url),))]

        assert post(sender, receiver.url) == SendFailure(f"the receiver answered {status}")
        assert other.received == []


def test_a_receiver_that_says_nothing_is_given_up(hasty: HttpSender, receiver: Receiver) -> None:
    receiver.answers = [Answer(hangs=True)]

    failure = post(hasty, receiver.url)

    assert failure is not None
    assert failure.why in {"timed out", "no answer within 0.3 s"}
    assert not failure.final


def test_one_byte_now_and_then_is_no_answer(hasty: HttpSender, receiver: Receiver) -> None:
    receiver.answers = [Answer(drips=True)]

    assert post(hasty, receiver.url) == SendFailure("no answer within 0.3 s")


def test_a_receiver_that_is_not_there_is_told(sender: HttpSender) -> None:
    [port] = free_ports(1)

    assert post(sender, f"http://127.0.0.1:{port}/") == SendFailure("Connection refused")


def test_a_receiver_that_hangs_up_is_told(sender: HttpSender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        import threading  # noqa: PLC0415  of this test alone

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        failure = post(sender, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()

    assert failure is not None
    assert not failure.final


def test_nonsense_is_no_answer(sender: HttpSender, receiver: Receiver) -> None:
    receiver.answers = [Answer(status=99999)]

    assert post(sender, receiver.url) is not None


def test_a_name_that_does_not_exist_is_told(sender: HttpSender) -> None:
    failure = post(sender, "https://does-not-exist.invalid/")

    assert failure is not None
    assert not failure.final


def test_what_is_local_is_not_connected_to(receiver: Receiver) -> None:
    sender = HttpSender(HttpOptions())

    failure = post(sender, receiver.url)

    assert failure is not None
    assert "webhook_local_targets" in failure.why
    assert "webhook_local_targets" in sender.why_refused(receiver.url)
    assert "webhook_local_targets" in sender.why_refused("https://localhost/")
    assert sender.why_refused("https://hooks.example/") == ""
    assert receiver.received == []


def test_a_name_that_stands_for_a_local_address_is_not_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: local)

    failure = post(HttpSender(HttpOptions()), f"https://rebound.example:{receiver.port}/")

    assert failure is not None
    assert "127.0.0.1 is local to the service" in failure.why
    assert receiver.received == []


def test_a_name_for_loopback_that_stands_for_elsewhere_is_not_spoken_to_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: elsewhere)

    failure = post(HttpSender(HttpOptions(local_allowed=True)), "http://localhost/")

    assert failure == SendFailure("10.0.0.1 is not loopback: use https")


def test_proxies_of_the_environment_are_not_used(
    sender: HttpSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")

    assert post(sender, receiver.url) is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def test_tls_is_spoken_to_who_has_the_name(certificate: SelfSigned) -> None:
    options = HttpOptions(local_allowed=True, ca_file=str(certificate.certificate))
    with receiver_running(certificate.server()) as receiver:
        sender = HttpSender(options)

        assert post(sender, f"https://localhost:{receiver.port}/") is None
        wrong_name = post(sender, f"https://127.0.0.1:{receiver.port}/")
        assert wrong_name is not None
        assert "certificate" in wrong_name.why
        unknown = post(
            HttpSender(HttpOptions(local_allowed=True)), f"https://localhost:{receiver.port}/"
        )
        assert unknown is not None
        assert "certificate" in unknown.why
        assert len(receiver.received) == 1


def test_a_file_of_certificates_that_is_not_there_is_told(
    certificate: SelfSigned, tmp_path: Path
) -> None:
    options = HttpOptions(local_allowed=True, ca_file=str(tmp_path / "none.pem"))
    with receiver_running(certificate.server()) as receiver:
        failure = post(HttpSender(options), f"https://localhost:{receiver.port}/")

    assert failure == SendFailure("No such file or directory")
