"""Where events of a project are sent, when it is tried again, and when it is given up."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from csbs.domain.errors import Conflict, Invalid, NotFound, Refused
from csbs.domain.events import RECORDED_KINDS, Event, EventKind
from csbs.domain.ids import ProjectId
from csbs.domain.web_address import checked_webhook_url

TARGETS_MAX = 10
RECIPIENTS_MAX = 20
#: An event that could not be delivered for so long is given up.
GIVEN_UP_AFTER = timedelta(days=1)
#: After the first failure in a row, twice as long after each further one, up to the last.
DELAY_FIRST, DELAY_MAX = timedelta(seconds=30), timedelta(hours=1)
#: So many events of a target wait at most; then the oldest are dropped.
WAITING_MAX = 10_000

_NAME = re.compile(r"[\w-]{1,64}")
# What smtplib passes on as it is; quoted local parts are used by nobody.
MAIL_ADDRESS_PATTERN = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
MAIL_ADDRESS_SIZE_MAX = 254
_MAIL_ADDRESS = re.compile(MAIL_ADDRESS_PATTERN)


@dataclass(eq=False)
class NotificationNotFound(NotFound):
    """No notification of the project has this id or name."""

    notification: str

    template = "there is no notification {0.notification!r}"


@dataclass(eq=False)
class NotificationNameTaken(Conflict):
    """Another notification of the project has this name."""

    name: str

    template = "there is a notification {0.name!r} already"


@dataclass(eq=False)
class InvalidNotification(Invalid):
    """A notification cannot be so."""

    part: str
    why: str

    template = "{0.part}: {0.why}"


@dataclass(eq=False)
class TooManyNotifications(Refused):
    """The project has as many notifications as it may have."""

    project: str
    notifications_max: int

    template = "the project has {0.notifications_max} notifications already"


@dataclass(eq=False)
class ReceiverRefused(Refused):
    """The service connects to no such address."""

    url: str
    why: str

    template = "nothing is sent to {0.url}: {0.why}"


@dataclass(eq=False)
class MailNotSetUp(Refused):
    """The service cannot send mail."""

    setting: str

    template = "this service sends no mail: its operator sets {0.setting}"


class Channel(StrEnum):
    """How events are sent."""

    WEBHOOK = "webhook"
    MAIL = "mail"


class Language(StrEnum):
    """Of mails."""

    ENGLISH = "en"
    CHINESE = "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTarget:
    """Where events are to be sent, as a caller gives it: either a `url`, or `recipients`."""

    name: str
    url: str | None = None
    recipients: Sequence[str] = ()
    kinds: Collection[EventKind] = ()
    language: Language = Language.ENGLISH


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where events of a project are sent."""

    id: str
    project_id: ProjectId
    name: str
    channel: Channel
    #: Of a webhook.
    url: str = ""
    #: Of mail.
    recipients: tuple[str, ...] = ()
    language: Language = Language.ENGLISH
    #: What is sent; empty: everything.
    kinds: frozenset[EventKind] = frozenset()
    created_at: datetime
    #: Failures in a row.
    failures: int = 0
    #: Nothing is sent before that.
    next_at: datetime | None = None
    last_error: str = ""
    last_delivered_at: datetime | None = None

    def wants(self, kind: EventKind) -> bool:
        """Whether events of this kind are sent here."""
        return not self.kinds or kind in self.kinds


class DeliveryState(StrEnum):
    """How far an event is on its way to a target."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    #: Not delivered for a day, or refused for good.
    GIVEN_UP = "given_up"
    #: Too many waited.
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEnd:
    """How an event's way to a target ended."""

    state: DeliveryState
    at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many events are on the way to a target, and were not delivered."""

    waiting: int = 0
    delivered: int = 0
    given_up: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SendFailure:
    """Why something was not sent; `final`: it is of no use to send the same again."""

    why: str
    final: bool = False


def new_target(wanted: NewTarget, *, target_id: str, project_id: ProjectId, at: datetime) -> Target:
    """The target.  Raises `InvalidNotification`, `InvalidWebhookUrl`."""
    if not _NAME.fullmatch(wanted.name):
        raise InvalidNotification("name", "use 1 to 64 letters, digits, _ and -")
    if (wanted.url is None) == (not wanted.recipients):
        raise InvalidNotification("target", "give either the URL of a webhook, or recipients")
    if set(wanted.kinds) - set(RECORDED_KINDS):
        raise InvalidNotification("kinds", "choose of " + ", ".join(RECORDED_KINDS))
    return Target(
        id=target_id,
        project_id=project_id,
        name=wanted.name,
        channel=Channel.MAIL if wanted.url is None else Channel.WEBHOOK,
        url="" if wanted.url is None else checked_webhook_url(wanted.url),
        recipients=_checked_recipients(wanted.recipients),
        language=wanted.language,
        kinds=frozenset(wanted.kinds),
        created_at=at,
    )


def _checked_recipients(recipients: Sequence[str]) -> tuple[str, ...]:
    if len(recipients) > RECIPIENTS_MAX:
        raise InvalidNotification("recipients", f"at most {RECIPIENTS_MAX}")
    for each in recipients:
        if not is_mail_address(each):
            raise InvalidNotification("recipients", f"{each[:64]!r} is no address of mail")
    return tuple(dict.fromkeys(recipients))


def is_mail_address(text: str) -> bool:
    """Whether mail can be sent to it."""
    return len(text) <= MAIL_ADDRESS_SIZE_MAX and _MAIL_ADDRESS.fullmatch(text) is not None


def delay_after(failures: int) -> timedelta:
    """How long a target is left alone after so many failures in a row."""
    assert failures > 0
    # A power of so many failures would overflow.
    return min(DELAY_MAX, DELAY_FIRST * (1 << min(failures - 1, 16)))


def is_expired(event: Event, now: datetime) -> bool:
    """Whether an event that could not be delivered is not tried again."""
    return now - event.at >= GIVEN_UP_AFTER
