"""Documents of our own API: our words, sizes in bytes, times in RFC 3339 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt

from csbs.catalog.tasks import TaskStep
from csbs.domain.audit import AuditEvent
from csbs.domain.backup import Backup, BackupState, DiskBackup
from csbs.domain.consistency import Consistency
from csbs.domain.quota import LIMIT_MAX, Quotas, Usage
from csbs.domain.server import DiskDescription, ServerDescription, ServerState
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.domain.tenancy import AccessKey, Membership, Project, Role, User

#: What nobody needs more of.
Text = Annotated[str, Field(max_length=255)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
#: Of users and projects (`csbs.domain.tenancy`).
NewName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}$")]
Password = Annotated[str, Field(max_length=256)]
NewPassword = Annotated[str, Field(min_length=8, max_length=256)]


class Body(BaseModel):
    """What a caller sends: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Document(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(from_attributes=True)


class Reference(Document):
    """Something by its id, and its name for people."""

    id: str
    name: str


class Fault(Document):
    """Why a call was refused, or a task failed."""

    kind: str
    object: str = ""
    message: str


class Refusal(Document):
    """The body of every answer from 400 on."""

    error: Fault


# --- who may do what --------------------------------------------------------------------------


class NewProject(Body):
    """A project to make; its name begins with that of the region and `_`."""

    name: NewName


class ProjectDocument(Document):
    """A project."""

    id: str
    name: str

    @classmethod
    def of(cls, project: Project) -> Self:
        """As it is."""
        return cls(id=project.id, name=project.name)


class Page(Document):
    """A part of a list."""

    #: What to ask for as `after` to get the next page; null on the last one.
    next: str | None = None


class ProjectList(Page):
    """Projects, by name."""

    projects: list[ProjectDocument]


class NewUser(Body):
    """A user to make."""

    name: NewName
    password: NewPassword
    is_admin: StrictBool = False


class UserChange(Body):
    """What is to be otherwise; what is left out stays."""

    password: NewPassword | None = None
    enabled: StrictBool | None = None
    is_admin: StrictBool | None = None


class PasswordChange(Body):
    """One's own password."""

    old: Password
    new: NewPassword


class RoleBody(Body):
    """A role in a project; `admin` is of the region: see `is_admin` of a user."""

    role: Literal[Role.MEMBER, Role.READER]


class RoleInProject(Document):
    """What a user may do in a project."""

    project: Reference
    role: Role

    @classmethod
    def of(cls, membership: Membership) -> Self:
        """As it is."""
        project = membership.project
        return cls(project=Reference(id=project.id, name=project.name), role=membership.role)


class UserDocument(Document):
    """A user, with his roles where they were asked for."""

    id: str
    name: str
    enabled: bool
    is_admin: bool
    created_at: datetime
    roles: list[RoleInProject] | None = None

    @classmethod
    def of(cls, user: User, memberships: Sequence[Membership] | None = None) -> Self:
        """As he is."""
        return cls(
            id=user.id,
            name=user.name,
            enabled=user.enabled,
            is_admin=user.is_admin,
            created_at=user.created_at,
            roles=None if memberships is None else [RoleInProject.of(each) for each in memberships],
        )


class UserList(Page):
    """Users, by name."""

    users: list[UserDocument]


class NewKey(Body):
    """An access key to make."""

    description: Text = ""


class KeyDocument(Document):
    """An access key; its secret is there once, when it is made."""

    id: str
    description: str
    created_at: datetime
    secret: str | None = None

    @classmethod
    def of(cls, key: AccessKey, secret: str | None = None) -> Self:
        """As it is."""
        return cls(id=key.id, description=key.description, created_at=key.created_at, secret=secret)


class KeyList(Document):
    """Access keys, oldest first."""

    keys: list[KeyDocument]


class Assignment(Body):
    """The project, by id or name, that a server is to belong to."""

    project: Name


class AuditDocument(Document):
    """One change, or an attempt at one."""

    number: int
    at: datetime
    project_id: str | None
    user: Reference
    action: str
    target: str
    remote_address: str
    request_id: str
    result: str
    reason: str

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """As it was."""
        return cls(
            number=event.number,
            at=event.at,
            project_id=event.project_id,
            user=Reference(id=event.user_id, name=event.user_name),
            action=event.action,
            target=event.target,
            remote_address=event.remote_address,
            request_id=event.request_id,
            result=event.result,
            reason=event.reason,
        )


class AuditPage(Document):
    """Events, oldest first; the next page begins after the number of the last one."""

    events: list[AuditDocument]


class Health(Document):
    """What this service is."""

    region: str
    version: str


def _whole(value: object) -> object:
    """In JSON 7.0 is a whole number too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Limit = Annotated[StrictInt, Field(ge=-1, le=LIMIT_MAX), BeforeValidator(_whole)]


class QuotaChange(Body):
    """Limits to set; -1 means none, what is left out stays."""

    backups: Limit | None = None
    backup_bytes: Limit | None = None
    policies: Limit | None = None


class QuotaDocument(Document):
    """A limit, and what counts against it; without a limit it is null."""

    limit: int | None
    used: int


class QuotasDocument(Document):
    """What a project may have, and what it has."""

    backups: QuotaDocument
    backup_bytes: QuotaDocument
    policies: QuotaDocument

    @classmethod
    def of(cls, quotas: Quotas, usage: Usage) -> Self:
        """As they are."""
        return cls(
            backups=QuotaDocument(limit=quotas.backups, used=usage.backups),
            backup_bytes=QuotaDocument(limit=quotas.backup_bytes, used=usage.backup_bytes),
            policies=QuotaDocument(limit=quotas.policies, used=usage.policies),
        )


# --- servers, backups, tasks ------------------------------------------------------------------


class DiskDocument(Document):
    """A disk of a server, as it is now."""

    target: str
    format: str
    size_bytes: int
    bootable: bool
    shared: bool
    read_only: bool
    missing: bool
    trackable: bool


class ServerDocument(Document):
    """A server, as it is now."""

    id: str
    name: str
    state: ServerState
    autostart: bool
    unfinished_restore_of: str | None
    disks: list[DiskDocument]

    @classmethod
    def of(cls, server: ServerDescription, unfinished_restore_of: str | None = None) -> Self:
        """As it is."""
        return cls(
            id=server.id,
            name=server.name,
            state=server.state,
            autostart=server.autostart,
            unfinished_restore_of=unfinished_restore_of,
            disks=[_disk(disk) for disk in server.disks],
        )


class ServerList(Page):
    """Servers, by name."""

    servers: list[ServerDocument]


class ServerAssignment(Document):
    """A server and the project that it belongs to."""

    server: Reference
    project: Reference


class NewBackup(Body):
    """A backup to make, of all disks of a server."""

    server: Annotated[str, Field(min_length=1, max_length=255)]
    name: Annotated[str, Field(max_length=255, pattern=r"^\w[\w-]*$")] | None = None
    description: Text = ""
    #: Read all that is allocated, whatever is known of changes.
    full: StrictBool = False
    consistency: Consistency = Consistency.FILESYSTEM


class DiskBackupDocument(Document):
    """A disk's part of a backup."""

    id: str
    target: str
    format: str
    bootable: bool
    mode: str
    reason: str
    size_bytes: int
    read_bytes: int | None
    changed_bytes: int | None
    storage_bytes: int | None


class ConsistencyDocument(Document):
    """What was asked for, what was reached, and why they differ."""

    asked: Consistency
    reached: Consistency | None
    reason: str


class BackupDocument(Document):
    """A backup, with its disks."""

    id: str
    name: str
    description: str
    status: BackupState
    server: Reference
    checkpoint_id: str
    policy_id: str | None
    created_at: datetime
    finished_at: datetime | None
    #: What restoring it yields; what its making read, found changed, and added to the store.
    restored_bytes: int
    read_bytes: int | None
    changed_bytes: int | None
    stored_bytes: int | None
    storage_bytes: int | None
    consistency: ConsistencyDocument
    fail_code: str
    fail_reason: str
    disks: list[DiskBackupDocument]

    @classmethod
    def of(cls, backup: Backup) -> Self:
        """As it is."""
        return cls(
            id=backup.id,
            name=backup.name,
            description=backup.description,
            status=backup.state,
            server=Reference(id=backup.server_id, name=backup.server_name),
            checkpoint_id=backup.checkpoint_id,
            policy_id=backup.policy_id,
            created_at=backup.created_at,
            finished_at=backup.finished_at,
            restored_bytes=backup.restored_bytes,
            read_bytes=backup.read_bytes,
            changed_bytes=backup.changed_bytes,
            stored_bytes=backup.stored_bytes,
            storage_bytes=backup.storage_bytes,
            consistency=ConsistencyDocument(
                asked=backup.consistency_asked,
                reached=backup.consistency_reached,
                reason=backup.consistency_reason,
            ),
            fail_code=backup.fail_code,
            fail_reason=backup.fail_reason,
            disks=[_disk_backup(disk) for disk in backup.disks],
        )


class BackupList(Page):
    """Backups, oldest first."""

    backups: list[BackupDocument]


class NewRestore(Body):
    """A restore of a server, in place, from one of its backups."""

    power_on: StrictBool = True
    #: Compare what is known not to differ too.
    compare: StrictBool = False
    #: Go on where the backup is damaged, with zeroes for what is lost.
    allow_holes: StrictBool = False


class StepDocument(Document):
    """A step of a task; without an end it is the one that goes on, or in which it stopped."""

    name: str
    began_at: datetime
    ended_at: datetime | None


class TaskDocument(Document):
    """One execution: a backup, a restore, a deletion."""

    id: str
    kind: TaskKind
    state: TaskState
    server: Reference
    backup_id: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    done_bytes: int
    total_bytes: int
    bytes_per_s: int | None
    left_s: int | None
    cancel_requested: bool
    error: Fault | None
    error_code: str
    steps: list[StepDocument] | None = None

    @classmethod
    def of(cls, task: Task, steps: Sequence[TaskStep] | None = None) -> Self:
        """As it is."""
        fault = Fault(kind=task.error_kind, message=task.error_message)
        return cls(
            id=task.id,
            kind=task.kind,
            state=task.state,
            server=Reference(id=task.server_id, name=task.server_name),
            backup_id=task.backup_id,
            created_at=task.created_at,
            started_at=task.started_at,
            ended_at=task.ended_at,
            done_bytes=task.done_bytes,
            total_bytes=task.total_bytes,
            bytes_per_s=task.bytes_per_s,
            left_s=task.left_s,
            cancel_requested=task.cancel_requested,
            error=fault if task.error_kind else None,
            error_code=task.error_code,
            steps=None if steps is None else [StepDocument.model_validate(each) for each in steps],
        )


class TaskList(Page):
    """Tasks, oldest first."""

    tasks: list[TaskDocument]


class Deleted(Document):
    """How many went."""

    deleted: int


def _disk(disk: DiskDescription) -> DiskDocument:
    # Neither path nor serial: where disks lie on the host is the operator's matter.
    return DiskDocument.model_validate(disk)


def _disk_backup(disk: DiskBackup) -> DiskBackupDocument:
    return DiskBackupDocument(
        id=disk.disk_id,
        target=disk.target,
        format=disk.format,
        bootable=disk.bootable,
        mode=disk.mode,
        reason=disk.reason,
        size_bytes=disk.size_bytes,
        read_bytes=disk.read_bytes,
        changed_bytes=disk.changed_bytes,
        storage_bytes=disk.storage_bytes,
    )
