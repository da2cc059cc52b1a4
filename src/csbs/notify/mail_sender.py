"""Mail by SMTP, over TLS from the start or after STARTTLS.

What a server says is bounded, in bytes and in time: before TLS anybody on the way could say it.
"""

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
from typing import BinaryIO

from csbs.domain.clock import Clock
from csbs.domain.notification import SendFailure
from csbs.notify.base import Mail
from csbs.notify.time_limit import cut_after

_ERROR_SIZE_MAX = 300
_SUBJECT_SIZE_MAX = 200
#: Of all answers on one connection; those to twenty recipients are some thousand bytes.
_ANSWERS_SIZE_MAX = 1024**2


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
    #: For each answer of the server.
    time_max_s: float = 15.0
    #: For one mail, once connected; shorter than a stop of the service may take.
    mail_time_max_s: float = 25.0


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
        address = options.host, options.port
        with (
            socket.create_connection(address, options.time_max_s) as plain,
            cut_after(plain, options.mail_time_max_s),
        ):
            connected = plain
            if options.security is MailSecurity.TLS:
                connected = self._tls().wrap_socket(plain, server_hostname=options.host)
            server = _Session(connected, options)
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


class _Session(smtplib.SMTP):
    """A session on a connection that is there; takes no endless answers."""

    file: BinaryIO | _Answers | None

    def __init__(self, connected: socket.socket, options: MailOptions) -> None:
        self._connected = connected
        super().__init__(options.host, options.port, timeout=options.time_max_s)

    def _get_socket(self, _host: str, _port: int, _timeout: float) -> socket.socket:
        """Called by the base class, as `smtplib.SMTP_SSL` has it."""
        return self._connected

    def getreply(self) -> tuple[int, bytes]:
        """See `smtplib.SMTP.getreply`, which reads lines for as long as there are more."""
        if self.file is None:  # in the beginning, and after STARTTLS
            assert self.sock is not None
            self.file = _Answers(self.sock.makefile("rb"))
        return super().getreply()


class _Answers:
    """Lines that the server says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left_bytes = _ANSWERS_SIZE_MAX

    def readline(self, size: int) -> bytes:
        """See `BinaryIO.readline`.  Raises `OSError` if all together are too much."""
        line = self._file.readline(size)
        self._left_bytes -= len(line)
        if self._left_bytes < 0:
            raise OSError("the server of mail does not stop to answer")
        return line

    def close(self) -> None:
        """See `BinaryIO.close`."""
        self._file.close()


def _refusals(recipients: dict[str, tuple[int, bytes]]) -> str:
    told = "; ".join(
        f"{name}: {code} {text.decode(errors='replace')}"
        for name, (code, text) in recipients.items()
    )
    return told[:_ERROR_SIZE_MAX]
