"""The use cases on this machine, as commands ask for them (`cli.ports`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from csbs.cli import ports
from csbs.cli.local_policies import LocalPolicies
from csbs.documents import servers
from csbs.documents.backups import BackupDocument, BackupList, DeletionDocument, NewBackup
from csbs.documents.base import Deleted, DeletedObject, Reference
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
from csbs.documents.identity import (
    AuditDocument,
    KeyDocument,
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
    UserDocument,
    UserList,
)
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
from csbs.domain.events import EventKind
from csbs.domain.ids import BackupId
from csbs.domain.task import Watcher
from csbs.repository import EVERYTHING, parse_share
from csbs.services.project_app import App
from csbs.services.region import Region
from csbs.services.requests import CreateBackup, RestoreRequest
from csbs.services.restores import require_agreed
from csbs.services.verification import VerifyRequest
from csbs.workflows.back_up_server import LookOn


def create_request(new: NewBackup, look_on: LookOn | None = None) -> CreateBackup:
    """The use case's words for what a caller asks for."""
    return CreateBackup(
        server=new.server,
        name=new.name,
        description=new.description,
        full=new.full,
        consistency=new.consistency,
        limit_bytes_per_s=new.limit_bytes_per_s,
        look_on=look_on,
    )


@dataclass(frozen=True, slots=True)
class _Servers:
    app: App

    def list_all(self) -> ServerList:
        found = self.app.servers
        return ServerList(servers=servers.listed(found, found.list_all(), operator=True))

    def show(self, server: str) -> ServerDetails:
        return servers.detailed(self.app.servers, self.app.rpo, server, operator=True)

    def start(self, server: str) -> ServerDocument:
        started = self.app.servers.start(server)
        return servers.described(self.app.servers, started, operator=True)

    def stop(self, server: str) -> ServerStopped:
        return servers.stopped(self.app.servers, server, operator=True)

    def change(self, server: str, change: ServerChange) -> ServerSettings:
        return servers.changed(self.app.servers, server, change)

    def untrack(self, server: str) -> ServerUntracked:
        return servers.untracked(self.app.servers, server)


@dataclass(frozen=True, slots=True)
class _Backups:
    app: App

    def list_all(self, server: str | None) -> BackupList:
        found = self.app.backups.list_all(server)
        return BackupList(backups=[BackupDocument.of(each, operator=True) for each in found])

    def show(self, backup: str) -> BackupDocument:
        return BackupDocument.of(self.app.backups.find(backup), operator=True)

    def create(self, new: NewBackup, watcher: Watcher) -> BackupDocument:
        made = self.app.backups.create(create_request(new), watcher)
        return BackupDocument.of(made, operator=True)

    def measure_deletion(self, backup: str) -> DeletionDocument:
        return DeletionDocument.of(self.app.backups.measure_deletion(backup))

    def delete(self, planned: DeletionDocument, watcher: Watcher) -> DeletionDocument:
        return DeletionDocument.of(self.app.backups.delete(BackupId(planned.backup.id), watcher))


@dataclass(frozen=True, slots=True)
class _Restores:
    app: App

    def plan(self, backup: str) -> RestorePlanDocument:
        return RestorePlanDocument.of(self.app.restores.plan(backup))

    def restore(
        self, agreed: RestorePlanDocument, new: NewRestore, watcher: Watcher
    ) -> RestoredDocument:
        plan = self.app.restores.plan(agreed.backup.id)
        require_agreed(plan, agreed.plan_id)
        request = RestoreRequest(
            power_on=new.power_on,
            compare=new.compare,
            allow_holes=new.allow_holes,
            limit_bytes_per_s=new.limit_bytes_per_s,
        )
        done = self.app.restores.restore(plan, watcher, request)
        return RestoredDocument.of(done, started=new.power_on)


@dataclass(frozen=True, slots=True)
class _Tasks:
    app: App

    def list_all(self) -> TaskList:
        return TaskList(
            tasks=[TaskDocument.of(each, operator=True) for each in self.app.tasks.list_all()]
        )

    def show(self, task: str) -> TaskDetails:
        return TaskDetails.with_steps(*self.app.tasks.find(task), operator=True)

    def cancel(self, task: str) -> TaskDocument:
        found, _steps = self.app.tasks.find(task)
        return TaskDocument.of(self.app.tasks.cancel(found.id), operator=True)

    def delete(self, task: str) -> Deleted:
        found, _steps = self.app.tasks.find(task)
        self.app.tasks.delete(found.id)
        return Deleted(deleted=1)

    def delete_failed(self) -> Deleted:
        return Deleted(deleted=self.app.tasks.delete_failed())


@dataclass(frozen=True, slots=True)
class _Repository:
    app: App

    def show(self) -> RepositoryDocument:
        return RepositoryDocument.of(self.app.stores.show())

    def init(self) -> RepositoryDocument:
        return RepositoryDocument.of(self.app.stores.init())

    def collect(self, watcher: Watcher) -> CollectDocument:
        return CollectDocument.of(
            self.app.repositories.collect(lambda _: None, stopped=watcher.cancel.is_set)
        )

    def verify(self, new: NewVerification, watcher: Watcher) -> VerifyDocument:
        share = EVERYTHING if new.everything else new.share and parse_share(new.share)
        request = VerifyRequest(share=share or None, with_keys=not new.without_keys)
        return VerifyDocument.of(self.app.verification.verify(request, watcher))


@dataclass(frozen=True, slots=True)
class _Quotas:
    app: App

    def show(self) -> QuotasDocument:
        return QuotasDocument.of(*self.app.protection.quotas.show())

    def change(self, change: QuotaChange) -> QuotasDocument:
        self.app.protection.quotas.change(change.model_dump(exclude_none=True))
        return self.show()


@dataclass(frozen=True, slots=True)
class _Notifications:
    app: App

    def events(self, last: int, kinds: Sequence[EventKind]) -> EventPage:
        found = self.app.notifications.events(limit=last, kinds=kinds)
        return EventPage(events=[EventDocument.of(each) for each in found])

    def rpo(self) -> RpoList:
        return RpoList(servers=[RpoDocument.of(each) for each in self.app.rpo.list_all()])

    def list_all(self) -> NotificationList:
        found = self.app.notifications.list_all()
        return NotificationList(notifications=[NotificationDocument.of(*each) for each in found])

    def show(self, notification: str) -> NotificationDocument:
        return NotificationDocument.of(*self.app.notifications.find(notification))

    def create(self, new: NewNotification) -> NewNotificationDocument:
        return NewNotificationDocument.with_secret(*self.app.notifications.create(new.target()))

    def delete(self, notification: str) -> DeletedObject:
        gone = self.app.notifications.delete(notification)
        return DeletedObject(deleted=gone.id, name=gone.name)

    def test(self, notification: str) -> NotificationTested:
        return NotificationTested.of(self.app.notifications.test(notification))


@dataclass(frozen=True, slots=True)
class _Users:
    region: Region

    def list_all(self) -> UserList:
        return UserList(users=[UserDocument.of(each) for each in self.region.users.everyone()])

    def show(self, user: str) -> UserDetails:
        found = self.region.users.find(user)
        return UserDetails.with_roles(found, self.region.users.memberships(found.id))

    def create(self, new: NewUser) -> UserDetails:
        made = self.region.users.create(new.name, new.password, is_admin=new.is_admin)
        return UserDetails.with_roles(made, [])

    def change(self, user: str, change: UserChange) -> UserDetails:
        found = self.region.users.find(user)
        if change.password is not None:
            self.region.users.set_password(found.id, change.password)
        self.region.users.set_rights(found.id, enabled=change.enabled, is_admin=change.is_admin)
        return self.show(found.id)

    def delete(self, user: str) -> DeletedObject:
        gone = self.region.users.delete(user)
        return DeletedObject(deleted=gone.id, name=gone.name)

    def set_role(self, user: str, project: str, role: RoleBody) -> None:
        self.region.users.set_role(user, project, role.role)

    def take_role(self, user: str, project: str) -> None:
        self.region.users.set_role(user, project, None)


@dataclass(frozen=True, slots=True)
class _Projects:
    region: Region

    def list_all(self) -> ProjectList:
        found = self.region.projects.list_all()
        return ProjectList(projects=[ProjectDocument.of(each) for each in found])

    def create(self, new: NewProject) -> ProjectDocument:
        return ProjectDocument.of(self.region.projects.create(new.name))

    def delete(self, project: str) -> DeletedObject:
        gone = self.region.projects.delete(project)
        return DeletedObject(deleted=gone.id, name=gone.name)

    def assign(self, server: str, project: str) -> ServerAssignment:
        found, target = self.region.assignments.assign(server, project)
        return ServerAssignment(
            server=Reference(id=found.id, name=found.name),
            project=Reference(id=target.id, name=target.name),
        )


@dataclass(frozen=True, slots=True)
class _Keys:
    region: Region

    def of_user(self, user: str) -> KeyList:
        found = self.region.access_keys.of_user(self.region.users.find(user).id)
        return KeyList(keys=[KeyDocument.of(each) for each in found])

    def create(self, user: str, new: NewKey) -> NewKeyDocument:
        owner = self.region.users.find(user)
        key, secret = self.region.access_keys.create(owner, new.description)
        return NewKeyDocument.with_secret(key, secret)

    def delete(self, key: str) -> DeletedObject:
        gone = self.region.access_keys.delete(key)
        return DeletedObject(deleted=gone.id, name=gone.id)


@dataclass(frozen=True, slots=True)
class _Trail:
    region: Region

    def events(self, project: str | None, since: datetime | None) -> Iterator[AuditDocument]:
        owner = self.region.projects.find(project).id if project else None
        for event in self.region.audit.everything(owner, since=since):
            yield AuditDocument.of(event)


def local_project(app: App) -> ports.Project:
    """The use cases of a project here."""
    return ports.Project(
        servers=_Servers(app),
        backups=_Backups(app),
        restores=_Restores(app),
        tasks=_Tasks(app),
        repository=_Repository(app),
        quotas=_Quotas(app),
        policies=LocalPolicies(app),
        notifications=_Notifications(app),
    )


def local_region(region: Region) -> ports.Region:
    """Those of the region here."""
    return ports.Region(
        users=_Users(region),
        projects=_Projects(region),
        keys=_Keys(region),
        trail=_Trail(region),
    )
