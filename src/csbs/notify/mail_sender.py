"""Mail by SMTP, over TLS from the start or after STARTTLS."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum

from csbs.domain.clock import Clock
from csbs.domain.notification import SendFailure
from csbs.notify.base import Mail
from csbs.notify.time_limit import Limit, limited

_ERROR_SIZE_MAX = 300
_SUBJECT_SIZE_MAX = 200


class MailSecurity(StrEnum):
    """How the server of mail is spoken to."""

    #: In the clear first; nothing is sent unless the server turns to TLS.
    STARTTLS = "starttls"
    TLS = "tls"
    #: In the clear.
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class MailOptions:
    """The server of mail; without a `host` none is sent."""

    host: str = ""
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)
    #: Whom mail is from.
    sender: str = ""
    #: File of certificates that are trusted besides the system's.
    ca_file: str = ""
    #: For one mail, from the connection to the answer that it was taken.
    time_max_s: float = 30.0


class SmtpMailer:
    """See `Mailer`."""

    def __init__(self, options: MailOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    def missing_setting(self) -> str:
        """See `Mailer.missing_setting`."""
        if not self._options.host:
            return "smtp_host"
        return "" if self._options.sender else "smtp_from"

    def send(self, mail: Mail) -> SendFailure | None:
        """See `Mailer.send`."""
        missing = self.missing_setting()
        if missing:
            return SendFailure(f"this service sends no mail: its operator sets {missing}")
        try:
            with self._connected() as server:
                refused = server.send_message(
                    self._message(mail), self._options.sender, list(mail.recipients)
                )
        except smtplib.SMTPRecipientsRefused as error:
            return SendFailure(_refusals(error.recipients))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return SendFailure((str(error) or type(error).__name__)[:_ERROR_SIZE_MAX])
        # Sent again it would come twice to those who have it.
        del refused
        return None

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = mail.subject[:_SUBJECT_SIZE_MAX]
        message["From"] = Address("csbs", addr_spec=self._options.sender)
        message["To"] = [Address(addr_spec=each) for each in mail.recipients]
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = f"<{mail.id}@csbs.invalid>"
        # Nobody's holiday notice is wanted.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        return message

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        options = self._options
        with limited(options.time_max_s) as limit:
            tls = self._tls() if options.security is MailSecurity.TLS else None
            server = _Smtp(options, limit, tls)
            try:
                if options.security is MailSecurity.STARTTLS:
                    server.starttls(context=self._tls())
                if options.user:
                    server.login(options.user, options.password)
                yield server
                with suppress(OSError, smtplib.SMTPException):  # it has the mail
                    server.quit()
            finally:
                server.close()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._options.ca_file:
            context.load_verify_locations(self._options.ca_file)
        return context


class _Smtp(smtplib.SMTP):
    """Over TLS from the start if `tls` is given, and within the limit from the first byte on."""

    def __init__(self, options: MailOptions, limit: Limit, tls: ssl.SSLContext | None) -> None:
        self._limit = limit
        self._tls = tls
        super().__init__(options.host, options.port, timeout=options.time_max_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """What `connect` asks for, as in `smtplib.SMTP_SSL`."""
        connected = socket.create_connection((host, port), timeout)
        self._limit.watch(connected)
        if self._tls is None:
            return connected
        return self._tls.wrap_socket(connected, server_hostname=host)


def _refusals(recipients: dict[str, tuple[int, bytes]]) -> str:
    told = "; ".join(
        f"{name}: {code} {text.decode(errors='replace')}"
        for name, (code, text) in recipients.items()
    )
    return told[:_ERROR_SIZE_MAX]
