"""Runs: of a policy now, list, show, delete with all their backups or some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from csbs.api.context import Changes, InProject, Reads
from csbs.api.csbs_v1.routes.request import OWN_PROVIDER, Body, ListQuery, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.bodies import RunBody
from csbs.api.csbs_v1.wire.codes import NotSupported
from csbs.api.csbs_v1.wire.queries import parse_listing, slice_page
from csbs.api.csbs_v1.wire.record_query import parse_record_filter
from csbs.api.csbs_v1.wire.records import Record, record_body
from csbs.api.json_body import read_body
from csbs.domain.backup import Backup, BackupState
from csbs.domain.errors import BackupInUse, BackupNotFound
from csbs.domain.ids import CheckpointId, PolicyId, ServerId
from csbs.domain.policy import PolicyNotFound

router = csbs_router(prefix="/providers/{provider_id}/checkpoints", dependencies=[OWN_PROVIDER])

#: Whatever may be deleted from these is being deleted already, or can be.
_DELETABLE = frozenset({BackupState.AVAILABLE, BackupState.ERROR, BackupState.DELETING})


@router.post("")
def run_policy(here: Changes, body: Body) -> dict[str, Any]:
    """Begins backups of a policy's servers."""
    wanted = read_body(RunBody, body).checkpoint
    parameters = wanted.parameters
    resources = parameters.resources if parameters else None
    policies = here.app.protection.policies
    policy_id = PolicyId(wanted.plan_id)
    begun = policies.run(
        policy_id,
        None if resources is None else [ServerId(each) for each in resources],
        auto_trigger=bool(parameters and parameters.auto_trigger),
    )
    record = Record(backups=begun, policy=policies.get(policy_id))
    return {"checkpoint": record_body(record)}


@router.get("")
def list_records(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's runs."""
    found = here.app.protection.views.runs(parse_record_filter(query), parse_listing(query))
    page = slice_page(found, query, lambda run: run[0].checkpoint_id)
    made_by = {run[0].policy_id for run in page.rows}
    policies = here.app.protection.policies.by_ids(each for each in made_by if each)
    records = [
        Record(backups=run, policy=policies.get(run[0].policy_id or PolicyId("")))
        for run in page.rows
    ]
    return linked(request, "checkpoints", page, [record_body(each) for each in records])


@router.post("/action")
def copy_records(_here: Changes) -> None:
    """Karbor's copy."""
    raise NotSupported("Copying checkpoints")


@router.get("/{checkpoint_id}")
def show_record(here: Reads, checkpoint_id: str) -> dict[str, Any]:
    """One run."""
    backups = here.app.protection.views.of_run(CheckpointId(checkpoint_id))
    return {"checkpoint": record_body(_record(here, backups))}


@router.put("/{checkpoint_id}")
def reset_record(here: Changes, checkpoint_id: str) -> None:
    """Karbor's reset of a state: ours follows what is there, and cannot be set."""
    here.app.protection.views.of_run(CheckpointId(checkpoint_id))
    raise NotSupported("Resetting the state of a checkpoint")


@router.delete("/{checkpoint_id}")
def delete_record(here: Changes, checkpoint_id: str, query: ListQuery) -> dict[str, Any]:
    """Begins the deletion of all its backups, or of those that are named; may be repeated.

    All of them, or none: one that cannot be deleted now refuses the call.
    """
    backups = here.app.protection.views.of_run(CheckpointId(checkpoint_id))
    chosen = _chosen(backups, query.texts("checkpoint_items"))
    for backup in chosen:
        if backup.state not in _DELETABLE:
            raise BackupInUse(backup.id, f"it is {backup.state}")
    for backup in chosen:
        here.app.backups.submit_deletion(backup.id)
    return {}


def _chosen(backups: Sequence[Backup], named: frozenset[str]) -> Sequence[Backup]:
    if not named:
        return backups
    for missing in sorted(named - {each.id for each in backups}):
        raise BackupNotFound(missing[:64])
    return [each for each in backups if each.id in named]


def _record(here: InProject, backups: Sequence[Backup]) -> Record:
    policy_id = backups[0].policy_id
    if policy_id is None:
        return Record(backups=backups)
    try:
        return Record(backups=backups, policy=here.app.protection.policies.get(policy_id))
    except PolicyNotFound:  # it was deleted; its backups stay
        return Record(backups=backups)
