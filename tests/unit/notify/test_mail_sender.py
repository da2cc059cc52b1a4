"""Mail to a real server of SMTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from aiosmtpd.smtp import LoginPassword

from csbs.notify.base import Mail
from csbs.notify.mail_sender import MailOptions, MailSecurity, SmtpMailer
from csbs.testing.tls import SelfSigned, self_signed
from csbs.testing.values import START
from tests.unit.notify.smtp_servers import Doorkeeper, Inbox, server, tls_options

MAIL = Mail(id="e1", recipients=["ops@b.example", "two@b.example"], subject="失败", text="备份\n")


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


PLAIN = MailOptions(
    host="127.0.0.1", security=MailSecurity.NONE, sender="csbs@b.example", time_max_s=10
)


def send(options: MailOptions, mail: Mail = MAIL) -> str:
    """Why it failed; empty: it was sent."""
    failure = SmtpMailer(options, lambda: START).send(mail)
    return "" if failure is None else failure.why


def test_a_mail_comes_with_all_that_belongs_to_it(inbox: Inbox) -> None:
    with server(inbox) as port:
        assert send(replace(PLAIN, port=port)) == ""

    assert inbox.taken[0].rcpt_tos == ["ops@b.example", "two@b.example"]
    message = inbox.message()
    assert message["Subject"] == "失败"
    assert message["From"] == "csbs <csbs@b.example>"
    assert message["To"] == "ops@b.example, two@b.example"
    assert message["Message-ID"] == "<e1@csbs.invalid>"
    assert message["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().strip() == "备份"


def test_one_recipient_who_is_refused_does_not_send_it_twice_to_the_other(inbox: Inbox) -> None:
    inbox.refused = {"two@b.example"}
    with server(inbox) as port:
        assert send(replace(PLAIN, port=port)) == ""

    assert inbox.taken[0].rcpt_tos == ["ops@b.example"]


def test_recipients_who_are_all_refused_are_told(inbox: Inbox) -> None:
    inbox.refused = {"ops@b.example", "two@b.example"}
    with server(inbox) as port:
        assert "ops@b.example: 550 nobody here" in send(replace(PLAIN, port=port))


def test_nothing_is_sent_in_the_clear_to_a_server_without_tls(inbox: Inbox) -> None:
    with server(inbox) as port:
        told = send(replace(PLAIN, port=port, security=MailSecurity.STARTTLS))

    assert "STARTTLS" in told
    assert inbox.taken == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    return self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


WAYS = pytest.mark.parametrize("security", [MailSecurity.STARTTLS, MailSecurity.TLS])


@WAYS
@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_a_password_goes_over_tls(
    inbox: Inbox, certificate: SelfSigned, security: MailSecurity, password: str
) -> None:
    options = replace(
        PLAIN,
        security=security,
        user="csbs",
        password=password,
        ca_file=str(certificate.certificate),
    )
    door = Doorkeeper()
    with server(inbox, **tls_options(security, certificate), authenticator=door) as port:
        told = send(replace(options, port=port))

    assert LoginPassword(b"csbs", password.encode()) in door.given
    assert (told == "") is (password == "secret")  # noqa: S105  of a test
    assert len(inbox.taken) == (password == "secret")  # noqa: S105  likewise
    assert "secret" not in told


@WAYS
def test_a_server_whose_certificate_is_unknown_gets_nothing(
    inbox: Inbox, certificate: SelfSigned, security: MailSecurity
) -> None:
    with server(inbox, **tls_options(security, certificate)) as port:
        told = send(replace(PLAIN, port=port, security=security))

    assert "certificate" in told
    assert inbox.taken == []


@WAYS
def test_a_server_of_another_name_gets_nothing(
    inbox: Inbox, certificate: SelfSigned, security: MailSecurity
) -> None:
    known = replace(PLAIN, host="localhost", ca_file=str(certificate.certificate))
    with server(inbox, **tls_options(security, certificate)) as port:
        told = send(replace(known, port=port, security=security))

    assert "localhost" in told
    assert inbox.taken == []


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = send(replace(PLAIN, port=listener.getsockname()[1], time_max_s=0.2))

    assert "timed out" in told


@contextmanager
def talker(said: bytes, interval_s: float) -> Iterator[int]:
    """The port of a server that goes on saying that, to whoever comes first."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while not ended.wait(interval_s):
                    connection.sendall(said)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def test_a_server_that_says_one_byte_now_and_then_is_given_up() -> None:
    with talker(b"2", 0.01) as port:
        told = send(replace(PLAIN, port=port, mail_time_max_s=0.3))

    assert "no answer within 0.3 s" in told


def test_a_server_that_does_not_stop_to_answer_takes_no_memory() -> None:
    with talker(b"220-" + b"z" * 8000 + b"\r\n", 0) as port:
        told = send(replace(PLAIN, port=port))

    assert "does not stop to answer" in told


def test_a_server_that_hangs_up_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        told = send(replace(PLAIN, port=listener.getsockname()[1]))
        thread.join()

    assert told


def test_without_a_server_nothing_is_sent() -> None:
    mailer = SmtpMailer(MailOptions(), lambda: START)
    assert mailer.missing_setting() == "smtp_host"
    assert SmtpMailer(MailOptions(host="h"), lambda: START).missing_setting() == "smtp_from"
    assert SmtpMailer(PLAIN, lambda: START).missing_setting() == ""
    failure = mailer.send(MAIL)
    assert failure is not None
    assert "smtp_host" in failure.why


def test_what_would_be_another_header_is_not_sent(inbox: Inbox) -> None:
    with server(inbox) as port:
        told = send(replace(PLAIN, port=port), replace(MAIL, subject="a\nBcc: x@y"))

    assert told
    assert inbox.taken == []
