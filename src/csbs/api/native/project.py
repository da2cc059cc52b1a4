"""One project: its servers, backups and tasks, and the trail of its changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from csbs.api.context import AdministersProject, Changes, Reads
from csbs.api.native.models import (
    AuditDocument,
    AuditPage,
    BackupDocument,
    BackupList,
    Deleted,
    NewBackup,
    NewRestore,
    QuotaChange,
    QuotasDocument,
    ServerDocument,
    ServerList,
    TaskDocument,
    TaskList,
)
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
from csbs.api.native.region import AfterEvent, ServerName
from csbs.catalog.task_lists import TaskFilter
from csbs.domain.ids import TaskId
from csbs.domain.server import ServerDescription
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
OfServer = Annotated[str | None, Query(max_length=255, description="Only of this server.")]


# --- servers ----------------------------------------------------------------------------------


@router.get("/servers")
def list_servers(here: Reads, after: After = "", limit: Limit = LIMIT_DEFAULT) -> ServerList:
    """The project's servers, by name, with their disks."""
    page = page_by_name(here.app.servers.list_all(), after, limit)
    servers = [_server(here.app, server) for server in page.rows]
    return ServerList(servers=servers, next=next_by_name(page))


@router.get("/servers/{server}")
def show_server(server: ServerName, here: Reads) -> ServerDocument:
    """One server."""
    return _server(here.app, here.app.servers.find(server))


@router.post("/servers/{server}/start")
def start_server(server: ServerName, here: Changes) -> ServerDocument:
    """Starts a server; a backup that holds its disks is cancelled for it."""
    return _server(here.app, here.app.servers.start(server))


@router.post("/servers/{server}/stop")
def stop_server(server: ServerName, here: Changes) -> ServerDocument:
    """Stops a server: by its guest agent, by ACPI, at last by force."""
    stopped, _how = here.app.servers.stop(server)
    return _server(here.app, stopped)


# --- backups ----------------------------------------------------------------------------------


@router.get("/backups")
def list_backups(
    here: Reads, server: OfServer = None, after: AfterPlace = "", limit: Limit = LIMIT_DEFAULT
) -> BackupList:
    """The project's backups, oldest first."""
    page = here.app.backups.page(server, by_age(after, limit))
    return BackupList(
        backups=[BackupDocument.of(each) for each in page.rows], next=next_by_age(page)
    )


@router.post("/backups", status_code=202)
def create_backup(body: NewBackup, here: Changes) -> BackupDocument:
    """Begins a backup; it is `protecting` until its task has ended."""
    backup = here.app.backups.submit(
        CreateBackup(
            server=body.server,
            name=body.name,
            description=body.description,
            full=body.full,
            consistency=body.consistency,
        )
    )
    return BackupDocument.of(backup)


@router.get("/backups/{backup}")
def show_backup(backup: BackupName, here: Reads) -> BackupDocument:
    """One backup."""
    return BackupDocument.of(here.app.backups.find(backup))


@router.delete("/backups/{backup}", status_code=202)
def delete_backup(backup: BackupName, here: Changes) -> TaskDocument:
    """Begins the deletion of a backup; no other backup is hurt by it."""
    found = here.app.backups.find(backup)
    return TaskDocument.of(here.app.backups.submit_deletion(found.id))


@router.post("/backups/{backup}/restore", status_code=202)
def restore_backup(backup: BackupName, body: NewRestore, here: Changes) -> TaskDocument:
    """Begins a restore in place: stops the server, writes its disks, starts it."""
    request = RestoreRequest(
        power_on=body.power_on, compare=body.compare, allow_holes=body.allow_holes
    )
    return TaskDocument.of(here.app.restores.submit(backup, request))


# --- tasks ------------------------------------------------------------------------------------


@router.get("/tasks")
def list_tasks(here: Reads, after: AfterPlace = "", limit: Limit = LIMIT_DEFAULT) -> TaskList:
    """The project's tasks, oldest first."""
    page = here.app.tasks.page(TaskFilter(), by_age(after, limit))
    return TaskList(tasks=[TaskDocument.of(each) for each in page.rows], next=next_by_age(page))


@router.get("/tasks/{task}")
def show_task(task: TaskName, here: Reads) -> TaskDocument:
    """One task, with the steps that it went through."""
    found, steps = here.app.tasks.find(task)
    return TaskDocument.of(found, steps)


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
def list_changes(here: Reads, after: AfterEvent = 0, limit: Limit = LIMIT_DEFAULT) -> AuditPage:
    """Changes in the project, oldest first."""
    events = here.region.audit.page(here.project_id, after=after, limit=limit)
    return AuditPage(events=[AuditDocument.of(each) for each in events])


def _task_id(app: App, wanted: str) -> TaskId:
    found, _steps = app.tasks.find(wanted)
    return found.id


def _server(app: App, server: ServerDescription) -> ServerDocument:
    return ServerDocument.of(server, app.servers.half_restored().get(server.id))
