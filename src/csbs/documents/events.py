"""Events of a project, where they are sent, and how new its backups are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from csbs.documents.base import Body, Document, Reference
from csbs.documents.reasons import Written
from csbs.domain.event_text import sentence
from csbs.domain.events import RECORDED_KINDS, Event, EventKind
from csbs.domain.notification import (
    MAIL_ADDRESS_PATTERN,
    MAIL_ADDRESS_SIZE_MAX,
    RECIPIENTS_MAX,
    Backlog,
    Channel,
    Language,
    NewTarget,
    SendFailure,
    Target,
)
from csbs.domain.rpo import RpoStatus
from csbs.domain.web_address import URL_SIZE_MAX


class EventDocument(Document):
    """What happened."""

    #: Grows from event to event.
    number: int
    #: The same for the same fact, also where it was sent.
    id: str
    kind: EventKind
    at: datetime
    server: Reference | None
    message: str
    #: Which names there are is up to the kind.
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        """As it was."""
        server = event.server
        return cls(
            number=event.number,
            id=event.id,
            kind=event.kind,
            at=event.at,
            server=None if server is None else Reference(id=server.id, name=server.name),
            message=sentence(event, Language.ENGLISH),
            facts=event.facts,
        )


class EventPage(Document):
    """Events, oldest first; the next page begins after the number of the last one."""

    events: list[EventDocument]


#: As `csbs.domain.events.RECORDED_KINDS`.
RecordedKind = Literal[
    EventKind.TASK_FAILED,
    EventKind.RPO_BROKEN,
    EventKind.RPO_MENDED,
    EventKind.RUN_UNTRACKED,
    EventKind.AUDIT_MISMATCH,
    EventKind.COLLECTION_LATE,
]
_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_HTTPS = "https://[A-Za-z0-9][A-Za-z0-9.-]{0,252}"
_HTTP = r"http://(127\.0\.0\.1|localhost|\[::1\])"
#: HTTPS to a name or an IPv4 address; HTTP to loopback.
WebhookUrl = Annotated[
    str,
    Field(max_length=URL_SIZE_MAX),
    Written(
        rf'({_HTTPS}|{_HTTP})(:{_PORT})?(/[!-"$-~]*)?',
        "write an address such as https://hooks.example/csbs; http is for the service's own host",
    ),
]
MailAddress = Annotated[
    str,
    Field(max_length=MAIL_ADDRESS_SIZE_MAX),
    Written(MAIL_ADDRESS_PATTERN, "write an address such as ops@example.com"),
]


class _NewNotification(Body):
    name: Annotated[str, Written(r"[\w-]{1,64}", "use 1 to 64 letters, digits, _ and -")]
    #: Only these; none means all.
    kinds: Annotated[
        list[RecordedKind], Field(max_length=len(RECORDED_KINDS), default_factory=list)
    ]


class NewWebhook(_NewNotification):
    """Events are to be posted to a URL."""

    channel: Literal[Channel.WEBHOOK]
    url: WebhookUrl

    def target(self) -> NewTarget:
        """What is asked for."""
        return NewTarget(name=self.name, url=self.url, kinds=self.kinds)


class NewMail(_NewNotification):
    """Events are to be sent by mail."""

    channel: Literal[Channel.MAIL]
    recipients: Annotated[list[MailAddress], Field(min_length=1, max_length=RECIPIENTS_MAX)]
    language: Language = Language.ENGLISH

    def target(self) -> NewTarget:
        """What is asked for."""
        return NewTarget(
            name=self.name, recipients=self.recipients, kinds=self.kinds, language=self.language
        )


NewNotification = NewWebhook | NewMail


class BacklogDocument(Document):
    """Of the events that are kept: how many wait, and what became of the others."""

    waiting: int
    delivered: int
    given_up: int
    dropped: int


class NotificationDocument(Document):
    """Where events are sent, and how it goes."""

    id: str
    name: str
    channel: Channel
    url: str
    recipients: list[str]
    kinds: list[EventKind]
    language: Language
    created_at: datetime
    #: In a row.
    failures: int
    last_error: str
    last_delivered_at: datetime | None
    #: Not before this instant, after a failure.
    next_at: datetime | None
    deliveries: BacklogDocument

    @classmethod
    def of(cls, target: Target, backlog: Backlog) -> Self:
        """As it is."""
        return cls(
            id=target.id,
            name=target.name,
            channel=target.channel,
            url=target.url,
            recipients=list(target.recipients),
            kinds=sorted(target.kinds),
            language=target.language,
            created_at=target.created_at,
            failures=target.failures,
            last_error=target.last_error,
            last_delivered_at=target.last_delivered_at,
            next_at=target.next_at if target.failures else None,
            deliveries=BacklogDocument.model_validate(backlog),
        )


class NewNotificationDocument(NotificationDocument):
    """One that was made; the secret of a webhook is there once, now."""

    secret: str | None

    @classmethod
    def with_secret(cls, target: Target, secret: str | None) -> Self:
        """As it was made."""
        plain = NotificationDocument.of(target, Backlog())
        return cls(**plain.model_dump(), secret=secret)


class NotificationList(Document):
    """Notifications, by name."""

    notifications: list[NotificationDocument]


class NotificationTested(Document):
    """Whether a trial event was received, and why not."""

    received: bool
    why: str

    @classmethod
    def of(cls, failure: SendFailure | None) -> Self:
        """As it was."""
        return cls(received=failure is None, why="" if failure is None else failure.why)


class RpoDocument(Document):
    """How new the backups of a server are (RPO), and how long its last restore took (RTO)."""

    server: Reference
    #: The policy that promises; null: none that runs by itself.
    policy: Reference | None
    #: How old the newest backup may be.
    promise_s: int | None
    newest_backup_at: datetime | None
    #: Of the newest backup; null: the server was never backed up.
    age_s: int | None
    broken: bool
    broken_at: datetime | None
    last_restore_s: int | None
    last_restore_at: datetime | None

    @classmethod
    def of(cls, status: RpoStatus) -> Self:
        """As it is."""
        policy_id, policy_name = status.policy_id, status.policy_name
        return cls(
            server=Reference(id=status.server_id, name=status.server_name),
            policy=None if policy_id is None else Reference(id=policy_id, name=policy_name or ""),
            promise_s=status.promise_s,
            newest_backup_at=status.newest_backup_at,
            age_s=status.age_s,
            broken=status.broken,
            broken_at=status.broken_at,
            last_restore_s=status.last_restore_s,
            last_restore_at=status.last_restore_at,
        )


class RpoList(Document):
    """All servers that csbs has backed up or bound, by name."""

    servers: list[RpoDocument]
