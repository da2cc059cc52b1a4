"""Makes of events what a target is sent, and sends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, notifications
from csbs.domain.clock import Clock
from csbs.domain.errors import CsbsError
from csbs.domain.event_text import mail_of
from csbs.domain.events import Event
from csbs.domain.ids import ProjectId
from csbs.domain.notification import Channel, SendFailure, Target
from csbs.domain.webhook import body_of, signed_headers
from csbs.notify.base import Mail, Mailer, WebhookSender
from csbs.repository.secret_box import SecretBox


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Sends to targets of all projects; may be used by several threads."""

    catalog: Catalog
    secrets: SecretBox
    webhooks: WebhookSender
    mailer: Mailer
    #: For people.
    project_name: Callable[[ProjectId], str]
    clock: Clock

    def send(self, target: Target, batch: Sequence[Event]) -> SendFailure | None:
        """Sends one event to a webhook, or several in one mail; None: the receiver has them.

        Raises `CatalogFailed`.
        """
        if target.channel is Channel.MAIL:
            return self.mailer.send(self._mail(target, batch))
        [event] = batch
        with self.catalog.transaction() as transaction:
            sealed = notifications.sealed_secret(transaction, target.project_id, target.id)
        if sealed is None:
            return SendFailure("the notification was deleted")
        try:
            secret = self.secrets.open(sealed, purpose_of(target.id))
        except CsbsError as error:
            return SendFailure(str(error))
        body = body_of(event)
        return self.webhooks.post(
            target.url, body, signed_headers(event.id, body, secret, self.clock())
        )

    def _mail(self, target: Target, batch: Sequence[Event]) -> Mail:
        name = self.project_name(target.project_id)
        subject, text = mail_of(batch, name, target.language)
        return Mail(
            id=f"{batch[0].id}.{len(batch)}.{target.id}",
            recipients=target.recipients,
            subject=subject,
            text=text,
        )


def purpose_of(target_id: str) -> str:
    """What a target's secret is sealed for."""
    return f"the secret of notification {target_id}"
