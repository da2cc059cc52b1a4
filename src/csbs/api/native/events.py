"""What happened in a project, where it is sent, and how new its backups are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from csbs.api.context import Changes, Reads
from csbs.api.native.paging import LIMIT_DEFAULT, Limit
from csbs.documents.events import (
    EventDocument,
    EventPage,
    NewNotification,
    NewNotificationDocument,
    NotificationDocument,
    NotificationList,
    NotificationTested,
    RpoDocument,
    RpoList,
)
from csbs.domain.events import EventKind

router = APIRouter(prefix="/projects/{project_id}", tags=["events"])

AfterEvent = Annotated[
    int | None,
    Query(ge=0, le=2**31 - 1, description="Number of the last event seen; else the newest."),
]
OfKinds = Annotated[list[EventKind] | None, Query(max_length=len(EventKind))]
NotificationName = Annotated[str, Path(max_length=64, description="Id or name of a notification.")]


@router.get("/events")
def list_events(
    here: Reads, after: AfterEvent = None, limit: Limit = LIMIT_DEFAULT, kind: OfKinds = None
) -> EventPage:
    """Events of the project, oldest first: the newest, or the next after a number."""
    found = here.app.notifications.events(after=after, limit=limit, kinds=kind or ())
    return EventPage(events=[EventDocument.of(each) for each in found])


@router.get("/rpo")
def list_rpo(here: Reads) -> RpoList:
    """For each server the age of its newest backup, against what its policy promises."""
    return RpoList(servers=[RpoDocument.of(each) for each in here.app.rpo.list_all()])


@router.get("/notifications")
def list_notifications(here: Reads) -> NotificationList:
    """Where events are sent."""
    found = here.app.notifications.list_all()
    return NotificationList(notifications=[NotificationDocument.of(*each) for each in found])


@router.post("/notifications", status_code=201)
def create_notification(
    body: Annotated[NewNotification, Field(discriminator="channel")], here: Changes
) -> NewNotificationDocument:
    """Has events sent by webhook or mail; the secret by which webhooks are signed is shown once."""
    return NewNotificationDocument.with_secret(*here.app.notifications.create(body.target()))


@router.get("/notifications/{notification}")
def show_notification(notification: NotificationName, here: Reads) -> NotificationDocument:
    """One notification, and how it goes."""
    return NotificationDocument.of(*here.app.notifications.find(notification))


@router.delete("/notifications/{notification}", status_code=204)
def delete_notification(notification: NotificationName, here: Changes) -> None:
    """Sends nothing there any more, also not what waits."""
    here.app.notifications.delete(notification)


@router.post("/notifications/{notification}/test")
def try_notification(notification: NotificationName, here: Changes) -> NotificationTested:
    """Sends a trial event there now, and tells whether it was received."""
    return NotificationTested.of(here.app.notifications.test(notification))
