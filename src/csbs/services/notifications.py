"""Where a project's events are sent: what a caller may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, events, notifications
from csbs.domain.clock import Clock, NewId, RandomBytes
from csbs.domain.events import Event, EventKind, trial
from csbs.domain.ids import ProjectId
from csbs.domain.notification import (
    TARGETS_MAX,
    Backlog,
    Channel,
    MailNotSetUp,
    NewTarget,
    ReceiverRefused,
    SendFailure,
    Target,
    TooManyNotifications,
    new_target,
)
from csbs.domain.webhook import KEY_SIZE, new_secret
from csbs.services.sending import Sending, purpose_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationService:
    """Targets and events of one project."""

    catalog: Catalog
    project_id: ProjectId
    sending: Sending
    clock: Clock
    new_id: NewId
    random_bytes: RandomBytes

    def create(self, wanted: NewTarget) -> tuple[Target, str | None]:
        """A new target, and the secret of a webhook, which is never shown again.

        Raises `InvalidNotification`, `InvalidWebhookUrl`, `ReceiverRefused`, `MailNotSetUp`,
        `NotificationNameTaken`, `TooManyNotifications`.
        """
        target = new_target(
            wanted, target_id=self.new_id(), project_id=self.project_id, at=self.clock()
        )
        self._require_sendable(target)
        secret = sealed = None
        if target.channel is Channel.WEBHOOK:
            secret = new_secret(self.random_bytes(KEY_SIZE))
            sealed = self.sending.secrets.seal(secret, purpose_of(target.id))
        with self.catalog.transaction() as transaction:
            if len(notifications.of_project(transaction, self.project_id)) >= TARGETS_MAX:
                raise TooManyNotifications(self.project_id, TARGETS_MAX)
            notifications.add(transaction, target, sealed)
        return target, secret

    def list_all(self) -> list[tuple[Target, Backlog]]:
        """All targets, by name, with what is on its way to each."""
        with self.catalog.transaction() as transaction:
            found = notifications.of_project(transaction, self.project_id)
            return [(each, notifications.backlog(transaction, each)) for each in found]

    def find(self, wanted: str) -> tuple[Target, Backlog]:
        """The target with this id or name.  Raises `NotificationNotFound`."""
        with self.catalog.transaction() as transaction:
            target = notifications.find(transaction, self.project_id, wanted)
            return target, notifications.backlog(transaction, target)

    def delete(self, wanted: str) -> Target:
        """Nothing is sent there any more.  Raises `NotificationNotFound`."""
        with self.catalog.transaction() as transaction:
            target = notifications.find(transaction, self.project_id, wanted)
            notifications.remove(transaction, self.project_id, target.id)
        return target

    def test(self, wanted: str) -> SendFailure | None:
        """Sends a trial event there at once; None: it was received.

        Raises `NotificationNotFound`.
        """
        target, _backlog = self.find(wanted)
        return self.sending.send(target, [trial(self.project_id, self.new_id(), at=self.clock())])

    def events(
        self, *, after: int | None = None, limit: int, kinds: Sequence[EventKind] = ()
    ) -> list[Event]:
        """The next events after this number, oldest first; None: the last ones."""
        with self.catalog.transaction() as transaction:
            if after is None:
                return events.newest(transaction, self.project_id, limit=limit, kinds=kinds)
            return events.page(transaction, self.project_id, after=after, limit=limit, kinds=kinds)

    def _require_sendable(self, target: Target) -> None:
        if target.channel is Channel.MAIL:
            missing = self.sending.mailer.missing_setting()
            if missing:
                raise MailNotSetUp(missing)
            return
        why = self.sending.webhooks.why_refused(target.url)
        if why:
            raise ReceiverRefused(target.url[:100], why)
