"""The ports to receivers of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from csbs.domain.notification import SendFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to several people."""

    #: The same for the same mail that is sent again.
    id: str
    recipients: Sequence[str]
    subject: str
    text: str


class WebhookSender(Protocol):
    """Puts a document to an address that a tenant chose.

    Ends within a limit of time, whatever the receiver does, and never raises: what fails is told.
    It may have been received all the same.  May be used by several threads.
    """

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendFailure | None:
        """None: the receiver answered that it has it."""

    def why_refused(self, url: str) -> str:
        """Why nothing would be sent there, as far as the URL alone tells; empty: nothing known."""


class Mailer(Protocol):
    """Hands mail over to the server that the operator chose; as `WebhookSender` for the rest."""

    def send(self, mail: Mail) -> SendFailure | None:
        """None: the server has taken it, for one of the recipients at least."""

    def missing_setting(self) -> str:
        """The name of a setting without which no mail is sent; empty: none is missing."""
