"""Events, notifications and RPO of a project, in a service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csbs.client.project import ProjectCalls
from csbs.documents.base import DeletedObject
from csbs.documents.events import (
    EventPage,
    NewNotification,
    NewNotificationDocument,
    NotificationDocument,
    NotificationList,
    NotificationTested,
    RpoList,
)
from csbs.domain.events import EventKind

#: A receiver of mail may take its time.
_TEST_MAX_S = 120.0


@dataclass(frozen=True, slots=True)
class RemoteNotifications:
    """See `csbs.cli.ports.Notifications`."""

    calls: ProjectCalls

    def events(self, last: int, kinds: Sequence[EventKind]) -> EventPage:
        """The newest events, oldest first."""
        query: dict[str, str | int | Sequence[str]] = {"limit": last}
        if kinds:
            query["kind"] = [each.value for each in kinds]
        return self.calls.connection.get(EventPage, *self.calls.path, "events", query=query)

    def rpo(self) -> RpoList:
        """How new backups are."""
        return self.calls.connection.get(RpoList, *self.calls.path, "rpo")

    def list_all(self) -> NotificationList:
        """Where events are sent."""
        return self.calls.connection.get(NotificationList, *self.calls.path, "notifications")

    def show(self, notification: str) -> NotificationDocument:
        """One of them."""
        path = (*self.calls.path, "notifications", notification)
        return self.calls.connection.get(NotificationDocument, *path)

    def create(self, new: NewNotification) -> NewNotificationDocument:
        """Has events sent."""
        path = (*self.calls.path, "notifications")
        return self.calls.connection.ask("POST", NewNotificationDocument, *path, body=new)

    def delete(self, notification: str) -> DeletedObject:
        """Sends nothing there any more."""
        found = self.show(notification)
        self.calls.connection.tell("DELETE", *self.calls.path, "notifications", found.id)
        return DeletedObject(deleted=found.id, name=found.name)

    def test(self, notification: str) -> NotificationTested:
        """Sends a trial event."""
        path = (*self.calls.path, "notifications", notification, "test")
        return self.calls.connection.ask("POST", NotificationTested, *path, within_s=_TEST_MAX_S)
