"""The use cases of a project, in a service."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.client.connection import Connection
from csbs.client.watch import followed_chore, followed_task
from csbs.documents.backups import (
    BackupDocument,
    BackupList,
    BackupPage,
    DeletionDocument,
    NewBackup,
    SubmittedBackup,
)
from csbs.documents.base import Deleted
from csbs.documents.quotas import QuotaChange, QuotasDocument
from csbs.documents.repository import (
    ChoreDocument,
    CollectDocument,
    NewVerification,
    RepositoryDocument,
    VerifyDocument,
)
from csbs.documents.restores import (
    DiskRestored,
    NewRestore,
    RestoredDocument,
    RestorePlanDocument,
)
from csbs.documents.servers import (
    ServerChange,
    ServerDetails,
    ServerDocument,
    ServerList,
    ServerPage,
    ServerSettings,
    ServerStopped,
    ServerUntracked,
)
from csbs.documents.tasks import TaskDetails, TaskDocument, TaskList, TaskPage
from csbs.domain.task import Watcher

#: A guest may take its time to stop, a host to answer.
_GUEST_MAX_S = 900.0
#: Maps of two backups are compared.
_MEASURE_MAX_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCalls:
    """The calls of one project."""

    connection: Connection
    project_id: str

    @property
    def path(self) -> tuple[str, str]:
        """Where they are."""
        return "projects", self.project_id


@dataclass(frozen=True, slots=True)
class RemoteServers:
    """See `csbs.cli.ports.Servers`."""

    calls: ProjectCalls

    def list_all(self) -> ServerList:
        """All servers of the project."""
        pages = self.calls.connection.all_of(ServerPage, *self.calls.path, "servers")
        return ServerList(servers=[each for page in pages for each in page.servers])

    def show(self, server: str) -> ServerDetails:
        """One server."""
        return self.calls.connection.get(ServerDetails, *self.calls.path, "servers", server)

    def start(self, server: str) -> ServerDocument:
        """Starts a server."""
        path = (*self.calls.path, "servers", server, "start")
        return self.calls.connection.ask("POST", ServerDocument, *path, within_s=_GUEST_MAX_S)

    def stop(self, server: str) -> ServerStopped:
        """Stops a server."""
        path = (*self.calls.path, "servers", server, "stop")
        return self.calls.connection.ask("POST", ServerStopped, *path, within_s=_GUEST_MAX_S)

    def change(self, server: str, change: ServerChange) -> ServerSettings:
        """Sets how it is backed up."""
        path = (*self.calls.path, "servers", server)
        return self.calls.connection.ask("PATCH", ServerSettings, *path, body=change)

    def untrack(self, server: str) -> ServerUntracked:
        """Removes its tracking points."""
        path = (*self.calls.path, "servers", server, "untrack")
        return self.calls.connection.ask("POST", ServerUntracked, *path, within_s=_GUEST_MAX_S)


@dataclass(frozen=True, slots=True)
class RemoteBackups:
    """See `csbs.cli.ports.Backups`."""

    calls: ProjectCalls

    def list_all(self, server: str | None) -> BackupList:
        """All backups, or those of one server."""
        query = None if server is None else {"server": server}
        pages = self.calls.connection.all_of(BackupPage, *self.calls.path, "backups", query=query)
        return BackupList(backups=[each for page in pages for each in page.backups])

    def show(self, backup: str) -> BackupDocument:
        """One backup."""
        return self.calls.connection.get(BackupDocument, *self.calls.path, "backups", backup)

    def create(self, new: NewBackup, watcher: Watcher) -> BackupDocument:
        """Begins a backup, and waits for its end."""
        connection, path = self.calls.connection, self.calls.path
        entered = connection.ask(
            "POST", SubmittedBackup, *path, "backups", body=new, within_s=_GUEST_MAX_S
        )
        task = connection.get(TaskDetails, *path, "tasks", entered.task_id)
        followed_task(connection, path, task, watcher)
        return self.show(entered.id)

    def measure_deletion(self, backup: str) -> DeletionDocument:
        """What a deletion would change."""
        path = (*self.calls.path, "backups", backup, "deletion")
        return self.calls.connection.get(DeletionDocument, *path, within_s=_MEASURE_MAX_S)

    def delete(self, planned: DeletionDocument, watcher: Watcher) -> DeletionDocument:
        """Begins the deletion of a backup that was measured, and waits for its end."""
        connection, path = self.calls.connection, self.calls.path
        task = connection.ask("DELETE", TaskDocument, *path, "backups", planned.backup.id)
        done = followed_task(connection, path, task, watcher)
        # Without a result a former life of the service had come to the end of it.
        return planned if done.result is None else DeletionDocument.model_validate(done.result)


@dataclass(frozen=True, slots=True)
class RemoteRestores:
    """See `csbs.cli.ports.Restores`."""

    calls: ProjectCalls

    def plan(self, backup: str) -> RestorePlanDocument:
        """What a restore would do."""
        path = (*self.calls.path, "backups", backup, "restore")
        return self.calls.connection.get(RestorePlanDocument, *path, within_s=_MEASURE_MAX_S)

    def restore(
        self, agreed: RestorePlanDocument, new: NewRestore, watcher: Watcher
    ) -> RestoredDocument:
        """Begins a restore as planned, and waits for its end."""
        connection, path = self.calls.connection, self.calls.path
        body = new.model_copy(update={"plan_id": agreed.plan_id})
        where = (*path, "backups", agreed.backup.id, "restore")
        task = connection.ask("POST", TaskDocument, *where, body=body, within_s=_MEASURE_MAX_S)
        done = followed_task(connection, path, task, watcher)
        if done.result is not None:
            return RestoredDocument.model_validate(done.result)
        # A former life of the service had written all disks: nobody knows how much that was.
        return RestoredDocument(
            backup=agreed.backup,
            server=agreed.server,
            disks=[DiskRestored(**disk.model_dump()) for disk in agreed.disks],
            resumed=True,
            started=new.power_on,
        )


@dataclass(frozen=True, slots=True)
class RemoteTasks:
    """See `csbs.cli.ports.Tasks`."""

    calls: ProjectCalls

    def list_all(self) -> TaskList:
        """All tasks."""
        pages = self.calls.connection.all_of(TaskPage, *self.calls.path, "tasks")
        return TaskList(tasks=[each for page in pages for each in page.tasks])

    def show(self, task: str) -> TaskDetails:
        """One task."""
        return self.calls.connection.get(TaskDetails, *self.calls.path, "tasks", task)

    def cancel(self, task: str) -> TaskDocument:
        """Asks for its stop."""
        path = (*self.calls.path, "tasks", task, "cancel")
        return self.calls.connection.ask("POST", TaskDocument, *path)

    def delete(self, task: str) -> Deleted:
        """Forgets one that failed."""
        self.calls.connection.tell("DELETE", *self.calls.path, "tasks", task)
        return Deleted(deleted=1)

    def delete_failed(self) -> Deleted:
        """Forgets all that failed."""
        return self.calls.connection.ask("DELETE", Deleted, *self.calls.path, "failed-tasks")


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """See `csbs.cli.ports.Repository`."""

    calls: ProjectCalls

    def show(self) -> RepositoryDocument:
        """The repository."""
        path = (*self.calls.path, "repository")
        return self.calls.connection.get(RepositoryDocument, *path, within_s=_MEASURE_MAX_S)

    def init(self) -> RepositoryDocument:
        """Makes it, if there is none."""
        path = (*self.calls.path, "repository")
        return self.calls.connection.ask("POST", RepositoryDocument, *path, within_s=_MEASURE_MAX_S)

    def collect(self, watcher: Watcher) -> CollectDocument:
        """Begins a collection, and waits for its end."""
        connection, path = self.calls.connection, self.calls.path
        chore = connection.ask("POST", ChoreDocument, *path, "repository", "collections")
        done = followed_chore(connection, path, chore, watcher)
        assert done.collected is not None
        return done.collected

    def verify(self, new: NewVerification, watcher: Watcher) -> VerifyDocument:
        """Begins a verification, and waits for its end."""
        connection, path = self.calls.connection, self.calls.path
        chore = connection.ask(
            "POST", ChoreDocument, *path, "repository", "verifications", body=new
        )
        done = followed_chore(connection, path, chore, watcher)
        assert done.verified is not None
        return done.verified


@dataclass(frozen=True, slots=True)
class RemoteQuotas:
    """See `csbs.cli.ports.Quotas`."""

    calls: ProjectCalls

    def show(self) -> QuotasDocument:
        """What the project may have, and what it has."""
        return self.calls.connection.get(QuotasDocument, *self.calls.path, "quotas")

    def change(self, change: QuotaChange) -> QuotasDocument:
        """Sets limits."""
        path = (*self.calls.path, "quotas")
        return self.calls.connection.ask("PATCH", QuotasDocument, *path, body=change)
