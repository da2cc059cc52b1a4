"""Restores: begin, list, show."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import Changes, InProject, Reads
from csbs.api.csbs_v1.routes.request import Body, ListQuery, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.codes import NotSupported
from csbs.api.csbs_v1.wire.queries import parse_listing, slice_page
from csbs.api.csbs_v1.wire.restoring import StartRestore, parse_restore, restore_body
from csbs.api.csbs_v1.wire.task_query import RESTORES, RestoreNotFound, parse_restore_filter
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import TaskId
from csbs.domain.task import Task, TaskKind
from csbs.services.requests import RestoreRequest

router = csbs_router(prefix="/restores")


@router.post("")
def start_restore(here: Changes, body: Body) -> dict[str, Any]:
    """Begins a restore."""
    wanted = parse_restore(body)
    task = _submit(here, wanted)
    return {
        "restore": restore_body(
            task,
            wanted.checkpoint_id,
            parameters=wanted.parameters,
            restore_target=wanted.restore_target,
        )
    }


@router.get("")
def list_restores(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's restores."""
    found = here.app.tasks.page(parse_restore_filter(query), parse_listing(query), RESTORES)
    page = slice_page(found, query, lambda task: task.id)
    views = here.app.protection.views.by_ids({each.backup_id for each in page.rows})
    runs = {view.backup.id: view.backup.checkpoint_id for view in views.values()}
    bodies = [restore_body(each, runs.get(each.backup_id, "")) for each in page.rows]
    return linked(request, "restores", page, bodies)


@router.get("/{restore_id}")
def show_restore(here: Reads, restore_id: str) -> dict[str, Any]:
    """One restore."""
    task = here.app.tasks.get(TaskId(restore_id))
    if task.kind is not TaskKind.RESTORE:
        raise RestoreNotFound(restore_id[:64])
    backup = here.app.protection.views.find(task.backup_id)
    return {"restore": restore_body(task, backup.checkpoint_id if backup else "")}


def _submit(here: InProject, wanted: StartRestore) -> Task:
    backups = here.app.protection.views.of_run(wanted.checkpoint_id)
    if wanted.backup_id is None or wanted.server_id is None:
        if len(backups) > 1:
            raise NotSupported("Restoring several servers at once")
        backup_id, server_id = backups[0].id, backups[0].server_id
    else:
        backup_id, server_id = wanted.backup_id, wanted.server_id
        if backup_id not in {each.id for each in backups}:
            raise BackupNotFound(backup_id)
    return here.app.protection.checks.submit_restore(
        backup_id, server_id, wanted.targets, RestoreRequest(power_on=wanted.power_on)
    )
