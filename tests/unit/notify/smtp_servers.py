"""Servers of mail, to send to."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from csbs.notify.mail_sender import MailSecurity
from csbs.testing.ports import free_ports
from csbs.testing.tls import SelfSigned


class Inbox:
    """Takes mail, unless its recipient is refused."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.refused: set[str] = set()

    async def handle_RCPT(  # noqa: N802  the name in aiosmtpd
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  likewise
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        self.taken.append(envelope)
        return "250 OK"

    def message(self) -> EmailMessage:
        """The only one that came."""
        [envelope] = self.taken
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found


class Doorkeeper:
    """Lets one user in."""

    def __init__(self) -> None:
        self.given: list[LoginPassword] = []

    def __call__(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        self.given.append(given)
        good = given == LoginPassword(b"csbs", b"secret")
        return AuthResult(success=good, handled=good)


def tls_options(security: MailSecurity, certificate: SelfSigned) -> dict[str, Any]:
    """Of a server that is spoken to in this way, and in no other."""
    if security is MailSecurity.TLS:
        # It takes a password after STARTTLS alone, unless it is told that there is TLS already.
        return {"ssl_context": certificate.server(), "auth_require_tls": False}
    return {"tls_context": certificate.server(), "require_starttls": True}


@contextmanager
def server(inbox: Inbox, **options: Any) -> Iterator[int]:
    """The port of a server until the body ends."""
    [port] = free_ports(1)
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()
