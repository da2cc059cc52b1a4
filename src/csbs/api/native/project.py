"""One project: its servers, backups and tasks, its quotas, and the trail of its changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from csbs.api.context import AdministersProject, Changes, InProject, Reads
from csbs.api.native.paging import (
    LIMIT_DEFAULT,
    After,
    AfterPlace,
    Limit,
    by_age,
    next_by_age,
    next_by_name,
    page_by_name,
)
from csbs.api.native.region import AfterEvent, ServerName, Since
from csbs.catalog.task_lists import TaskFilter
from csbs.documents import servers
from csbs.documents.backups import (
    BackupDocument,
    BackupPage,
    DeletionDocument,
    NewBackup,
    SubmittedBackup,
)
from csbs.documents.base import Deleted
from csbs.documents.identity import AuditDocument, AuditPage
from csbs.documents.quotas import QuotaChange, QuotasDocument
from csbs.documents.restores import NewRestore, RestorePlanDocument
from csbs.documents.servers import (
    ServerChange,
    ServerDetails,
    ServerDocument,
    ServerPage,
    ServerSettings,
    ServerStopped,
    ServerUntracked,
)
from csbs.documents.tasks import TaskDetails, TaskDocument, TaskPage
from csbs.domain.ids import TaskId
from csbs.domain.tenancy import Role
from csbs.services.project_app import App
from csbs.services.requests import CreateBackup, RestoreRequest

router = APIRouter(prefix="/projects/{project_id}", tags=["project"])

BackupName = Annotated[
    str,
    Path(max_length=255, description="Id, unique prefix of 8 or more, or unique name of a backup."),
]
TaskName = Annotated[
    str, Path(max_length=64, description="Id, or unique prefix of 8 or more, of a task.")
]
OfServer = Annotated[
    str | None, Query(max_length=255, description="Only of this server, by id, prefix or name.")
]


# --- servers ----------------------------------------------------------------------------------


@router.get("/servers")
def list_servers(here: Reads, after: After = "", limit: Limit = LIMIT_DEFAULT) -> ServerPage:
    """The project's servers, by name, with their disks."""
    found = here.app.servers
    page = page_by_name(found.list_all(), after, limit)
    rows = servers.listed(found, page.rows, operator=_operator(here))
    return ServerPage(servers=rows, next=next_by_name(page))


@router.get("/servers/{server}")
def show_server(server: ServerName, here: Reads) -> ServerDetails:
    """One server, with what csbs keeps on its host for it."""
    return servers.detailed(here.app.servers, here.app.rpo, server, operator=_operator(here))


@router.patch("/servers/{server}")
def change_server(server: ServerName, body: ServerChange, here: Changes) -> ServerSettings:
    """Sets how a server is backed up."""
    return servers.changed(here.app.servers, server, body)


@router.post("/servers/{server}/start")
def start_server(server: ServerName, here: Changes) -> ServerDocument:
    """Starts a server; a backup that holds its disks is cancelled for it."""
    started = here.app.servers.start(server)
    return servers.described(here.app.servers, started, operator=_operator(here))


@router.post("/servers/{server}/stop")
def stop_server(server: ServerName, here: Changes) -> ServerStopped:
    """Stops a server: by its guest agent, by ACPI, at last by force."""
    return servers.stopped(here.app.servers, server, operator=_operator(here))


@router.post("/servers/{server}/untrack")
def untrack_server(server: ServerName, here: Changes) -> ServerUntracked:
    """Removes all checkpoints and bitmaps of csbs from a server: the next backup reads all."""
    return servers.untracked(here.app.servers, server)


# --- backups ----------------------------------------------------------------------------------


@router.get("/backups")
def list_backups(
    here: Reads, server: OfServer = None, after: AfterPlace = "", limit: Limit = LIMIT_DEFAULT
) -> BackupPage:
    """The project's backups, oldest first."""
    page = here.app.backups.page(server, by_age(after, limit))
    backups = [BackupDocument.of(each, operator=_operator(here)) for each in page.rows]
    return BackupPage(backups=backups, next=next_by_age(page))


@router.post("/backups", status_code=202)
def create_backup(body: NewBackup, here: Changes) -> SubmittedBackup:
    """Begins a backup; it is `protecting` until its task has ended."""
    backup, task = here.app.backups.enter(
        CreateBackup(
            server=body.server,
            name=body.name,
            description=body.description,
            full=body.full,
            consistency=body.consistency,
            limit_bytes_per_s=body.limit_bytes_per_s,
        )
    )
    plain = BackupDocument.of(backup, operator=_operator(here))
    return SubmittedBackup(**plain.model_dump(), task_id=task.id)


@router.get("/backups/{backup}")
def show_backup(backup: BackupName, here: Reads) -> BackupDocument:
    """One backup."""
    return BackupDocument.of(here.app.backups.find(backup), operator=_operator(here))


@router.get("/backups/{backup}/deletion")
def measure_deletion(backup: BackupName, here: Reads) -> DeletionDocument:
    """What deleting a backup would change in the storage of its server; changes nothing."""
    return DeletionDocument.of(here.app.backups.measure_deletion(backup))


@router.delete("/backups/{backup}", status_code=202)
def delete_backup(backup: BackupName, here: Changes) -> TaskDocument:
    """Begins the deletion of a backup; no other backup is hurt by it."""
    found = here.app.backups.find(backup)
    return TaskDocument.of(here.app.backups.submit_deletion(found.id))


@router.get("/backups/{backup}/restore")
def plan_restore(backup: BackupName, here: Reads) -> RestorePlanDocument:
    """What a restore of a backup to its server would do now; changes nothing."""
    return RestorePlanDocument.of(here.app.restores.plan(backup))


@router.post("/backups/{backup}/restore", status_code=202)
def restore_backup(backup: BackupName, body: NewRestore, here: Changes) -> TaskDocument:
    """Begins a restore in place: stops the server, writes its disks, starts it."""
    request = RestoreRequest(
        power_on=body.power_on,
        compare=body.compare,
        allow_holes=body.allow_holes,
        limit_bytes_per_s=body.limit_bytes_per_s,
    )
    return TaskDocument.of(here.app.restores.submit(backup, request, body.plan_id))


# --- tasks ------------------------------------------------------------------------------------


@router.get("/tasks")
def list_tasks(here: Reads, after: AfterPlace = "", limit: Limit = LIMIT_DEFAULT) -> TaskPage:
    """The project's tasks, oldest first."""
    page = here.app.tasks.page(TaskFilter(), by_age(after, limit))
    return TaskPage(tasks=[TaskDocument.of(each) for each in page.rows], next=next_by_age(page))


@router.get("/tasks/{task}")
def show_task(task: TaskName, here: Reads) -> TaskDetails:
    """One task, with the steps that it went through, and what it did."""
    return TaskDetails.with_steps(*here.app.tasks.find(task))


@router.post("/tasks/{task}/cancel", status_code=202)
def cancel_task(task: TaskName, here: Changes) -> TaskDocument:
    """Asks for a task's stop; a restore can be stopped until it writes."""
    return TaskDocument.of(here.app.tasks.cancel(_task_id(here.app, task)))


@router.delete("/tasks/{task}", status_code=204)
def delete_task(task: TaskName, here: Changes) -> None:
    """Forgets a task that failed."""
    here.app.tasks.delete(_task_id(here.app, task))


@router.delete("/failed-tasks")
def delete_failed_tasks(here: Changes) -> Deleted:
    """Forgets all tasks that failed."""
    return Deleted(deleted=here.app.tasks.delete_failed())


# --- quotas and the trail ---------------------------------------------------------------------


@router.get("/quotas")
def show_quotas(here: Reads) -> QuotasDocument:
    """What the project may have, and what it has."""
    return QuotasDocument.of(*here.app.protection.quotas.show())


@router.patch("/quotas")
def change_quotas(body: QuotaChange, here: AdministersProject) -> QuotasDocument:
    """Sets limits; one below what there is takes nothing away, and lets nothing be added."""
    quotas = here.app.protection.quotas
    quotas.change(body.model_dump(exclude_none=True))
    return QuotasDocument.of(*quotas.show())


@router.get("/audit")
def list_changes(
    here: Reads, after: AfterEvent = 0, limit: Limit = LIMIT_DEFAULT, since: Since = None
) -> AuditPage:
    """Changes in the project, oldest first."""
    events = here.region.audit.page(here.project_id, after=after, limit=limit, since=since)
    return AuditPage(events=[AuditDocument.of(each) for each in events])


def _task_id(app: App, wanted: str) -> TaskId:
    found, _steps = app.tasks.find(wanted)
    return found.id


def _operator(here: InProject) -> bool:
    """Where disks lie on the host is for those who run it."""
    return here.caller.may(Role.ADMIN)
