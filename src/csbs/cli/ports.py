"""What commands ask for, wherever it is done: here (`cli.local`) or in a service (`cli.remote`).

Names go in as a person types them, documents come out, and errors are those of `csbs.domain`.
`Watcher` draws progress, and carries a Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from csbs.domain.events import EventKind
from csbs.domain.task import Watcher

if TYPE_CHECKING:  # `csbs --help` must answer at once
    from csbs.documents.backups import BackupDocument, BackupList, DeletionDocument, NewBackup
    from csbs.documents.base import Deleted, DeletedObject
    from csbs.documents.events import (
        EventPage,
        NewNotification,
        NewNotificationDocument,
        NotificationDocument,
        NotificationList,
        NotificationTested,
        RpoList,
    )
    from csbs.documents.identity import (
        AuditDocument,
        KeyList,
        NewKey,
        NewKeyDocument,
        NewProject,
        NewUser,
        ProjectDocument,
        ProjectList,
        RoleBody,
        ServerAssignment,
        UserChange,
        UserDetails,
        UserList,
    )
    from csbs.documents.policies import (
        BegunDocument,
        NewPolicyBody,
        PolicyChangeBody,
        PolicyDetails,
        PolicyList,
        PolicyRunBody,
        ServersBody,
        ServerTagsBody,
        ServerTagsDocument,
    )
    from csbs.documents.previews import PreviewDocument
    from csbs.documents.quotas import QuotaChange, QuotasDocument
    from csbs.documents.repository import (
        CollectDocument,
        NewVerification,
        RepositoryDocument,
        VerifyDocument,
    )
    from csbs.documents.restores import NewRestore, RestoredDocument, RestorePlanDocument
    from csbs.documents.servers import (
        ServerChange,
        ServerDetails,
        ServerDocument,
        ServerList,
        ServerSettings,
        ServerStopped,
        ServerUntracked,
    )
    from csbs.documents.tasks import TaskDetails, TaskDocument, TaskList


class Servers(Protocol):
    """`csbs server`, but for its assignment."""

    def list_all(self) -> ServerList:
        """All servers of the project."""

    def show(self, server: str) -> ServerDetails:
        """One server."""

    def start(self, server: str) -> ServerDocument:
        """Starts a server."""

    def stop(self, server: str) -> ServerStopped:
        """Stops a server."""

    def change(self, server: str, change: ServerChange) -> ServerSettings:
        """Sets how it is backed up."""

    def untrack(self, server: str) -> ServerUntracked:
        """Removes its tracking points."""


class Backups(Protocol):
    """`csbs backup`."""

    def list_all(self, server: str | None) -> BackupList:
        """All backups, or those of one server."""

    def show(self, backup: str) -> BackupDocument:
        """One backup."""

    def create(self, new: NewBackup, watcher: Watcher) -> BackupDocument:
        """Makes a backup, and waits for its end."""

    def measure_deletion(self, backup: str) -> DeletionDocument:
        """What a deletion would change."""

    def delete(self, planned: DeletionDocument, watcher: Watcher) -> DeletionDocument:
        """Deletes a backup that was measured, and waits for the end."""


class Restores(Protocol):
    """`csbs restore`."""

    def plan(self, backup: str) -> RestorePlanDocument:
        """What a restore would do."""

    def restore(
        self, agreed: RestorePlanDocument, new: NewRestore, watcher: Watcher
    ) -> RestoredDocument:
        """Restores as planned, and waits for the end."""


class Tasks(Protocol):
    """`csbs task`."""

    def list_all(self) -> TaskList:
        """All tasks."""

    def show(self, task: str) -> TaskDetails:
        """One task."""

    def cancel(self, task: str) -> TaskDocument:
        """Asks for its stop."""

    def delete(self, task: str) -> Deleted:
        """Forgets one that failed."""

    def delete_failed(self) -> Deleted:
        """Forgets all that failed."""


class Repository(Protocol):
    """`csbs repository`, as far as it needs neither keys nor folders of the host."""

    def show(self) -> RepositoryDocument:
        """The repository."""

    def init(self) -> RepositoryDocument:
        """Makes it, if there is none."""

    def collect(self, watcher: Watcher) -> CollectDocument:
        """Frees space."""

    def verify(self, new: NewVerification, watcher: Watcher) -> VerifyDocument:
        """Checks that all is there."""


class Quotas(Protocol):
    """`csbs quota`."""

    def show(self) -> QuotasDocument:
        """What the project may have, and what it has."""

    def change(self, change: QuotaChange) -> QuotasDocument:
        """Sets limits."""


class Policies(Protocol):
    """`csbs policy`, and `csbs server tag`."""

    def list_all(self) -> PolicyList:
        """All policies."""

    def show(self, policy: str) -> PolicyDetails:
        """One policy."""

    def create(self, new: NewPolicyBody) -> PolicyDetails:
        """Makes a policy."""

    def change(self, policy: str, change: PolicyChangeBody) -> PolicyDetails:
        """Changes a policy."""

    def delete(self, policy: str) -> DeletedObject:
        """Deletes a policy."""

    def bind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Binds servers."""

    def unbind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Lets servers go."""

    def run(self, policy: str, body: PolicyRunBody, watcher: Watcher) -> BegunDocument:
        """Backs its servers up now: here to the end, in a service it is begun."""

    def preview(self, policy: str, at: datetime | None) -> PreviewDocument:
        """What it keeps and removes, now or at a later instant."""

    def tags(self, server: str) -> ServerTagsDocument:
        """A server's tags."""

    def tag(self, server: str, body: ServerTagsBody) -> ServerTagsDocument:
        """Gives and takes tags of a server."""


class Notifications(Protocol):
    """`csbs notification`, `csbs event`, `csbs rpo`."""

    def events(self, last: int, kinds: Sequence[EventKind]) -> EventPage:
        """The newest events, oldest first."""

    def rpo(self) -> RpoList:
        """How new backups are."""

    def list_all(self) -> NotificationList:
        """Where events are sent."""

    def show(self, notification: str) -> NotificationDocument:
        """One of them."""

    def create(self, new: NewNotification) -> NewNotificationDocument:
        """Has events sent."""

    def delete(self, notification: str) -> DeletedObject:
        """Sends nothing there any more."""

    def test(self, notification: str) -> NotificationTested:
        """Sends a trial event."""


class Users(Protocol):
    """`csbs user`, and who may do what in a project."""

    def list_all(self) -> UserList:
        """All users."""

    def show(self, user: str) -> UserDetails:
        """One user."""

    def create(self, new: NewUser) -> UserDetails:
        """Makes a user."""

    def change(self, user: str, change: UserChange) -> UserDetails:
        """Changes a user."""

    def delete(self, user: str) -> DeletedObject:
        """Deletes a user."""

    def set_role(self, user: str, project: str, role: RoleBody) -> None:
        """Gives a role."""

    def take_role(self, user: str, project: str) -> None:
        """Takes it."""


class Projects(Protocol):
    """`csbs project`."""

    def list_all(self) -> ProjectList:
        """All projects that the caller may see."""

    def create(self, new: NewProject) -> ProjectDocument:
        """Makes a project."""

    def delete(self, project: str) -> DeletedObject:
        """Deletes a project that owns nothing."""

    def assign(self, server: str, project: str) -> ServerAssignment:
        """Assigns a server."""


class Keys(Protocol):
    """`csbs key`."""

    def of_user(self, user: str) -> KeyList:
        """A user's keys."""

    def create(self, user: str, new: NewKey) -> NewKeyDocument:
        """Makes a key."""

    def delete(self, key: str) -> DeletedObject:
        """Deletes a key."""


class Trail(Protocol):
    """`csbs audit`."""

    def events(self, project: str | None, since: datetime | None) -> Iterator[AuditDocument]:
        """All events, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The use cases of one project."""

    servers: Servers
    backups: Backups
    restores: Restores
    tasks: Tasks
    repository: Repository
    quotas: Quotas
    policies: Policies
    notifications: Notifications


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Those of the region."""

    users: Users
    projects: Projects
    keys: Keys
    trail: Trail
