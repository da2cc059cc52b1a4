"""Servers: can they be backed up, can backups be restored to them, back one up now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from csbs.api.context import Changes, InProject, Reads
from csbs.api.csbs_v1.routes.request import OWN_PROVIDER, Body
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.bodies import CheckBody, ProtectBody, ProtectQuestion, RestoreQuestion
from csbs.api.csbs_v1.wire.protecting import create_backup
from csbs.api.csbs_v1.wire.records import Record, record_body
from csbs.api.csbs_v1.wire.restoring import disk_targets
from csbs.api.csbs_v1.wire.tag_bodies import tags_of
from csbs.api.csbs_v1.wire.verdicts import verdict_body
from csbs.api.csbs_v1.wire.words import SERVER_TYPE, TypeNotBackedUp, TypeNotRestored
from csbs.api.json_body import read_body
from csbs.domain.ids import BackupId, ServerId
from csbs.services.checks import Verdict
from csbs.services.exact import exact_server

router = csbs_router(prefix="/providers/{provider_id}/resources", dependencies=[OWN_PROVIDER])


@router.post("/action")
def check_servers(here: Reads, body: Body) -> dict[str, Any]:
    """One answer for each question, in their order."""
    asked = read_body(CheckBody, body)
    if asked.check_protectable is not None:
        return {"protectable": [_protectable(here, each) for each in asked.check_protectable]}
    return {"restorable": [_restorable(here, each) for each in asked.check_restorable or ()]}


@router.post("/{resource_id}/action")
def protect_server(here: Changes, resource_id: str, body: Body) -> dict[str, Any]:
    """Begins a backup."""
    wanted = read_body(ProtectBody, body).protect
    request, tags = create_backup(ServerId(resource_id), wanted), tags_of(wanted.tags)
    server = exact_server(here.app.servers, resource_id)
    given = here.app.protection.backup_tags.given(tags) if tags else None
    backup = here.app.backups.submit(replace(request, server=server.id, admit=given))
    return {"checkpoint": record_body(Record(backups=(backup,)))}


def _protectable(here: InProject, question: ProtectQuestion) -> dict[str, Any]:
    kind = question.resource_type or SERVER_TYPE
    if kind != SERVER_TYPE:
        verdict = Verdict(refusal=TypeNotBackedUp(kind[:64]))
    else:
        verdict = here.app.protection.checks.protectable(ServerId(question.resource_id))
    return verdict_body(verdict, question.resource_id, kind)


def _restorable(here: InProject, question: RestoreQuestion) -> dict[str, Any]:
    target = question.target
    kind = target.resource_type or SERVER_TYPE
    if kind != SERVER_TYPE:
        verdict = Verdict(refusal=TypeNotRestored(kind[:64]))
    else:
        verdict = here.app.protection.checks.restorable(
            BackupId(question.checkpoint_item_id),
            ServerId(target.resource_id),
            disk_targets(target.volumes),
        )
    return verdict_body(verdict, target.resource_id, kind)
