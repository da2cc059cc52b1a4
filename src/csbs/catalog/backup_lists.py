"""Lists of backups as they are looked at (`csbs.services.backup_views`), a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
)

from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import Condition, Source, has_part, latest, own, page_of_ids
from csbs.catalog.tables import backups, tasks
from csbs.domain.backup import BackupState
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, ProjectId, ServerId
from csbs.domain.listing import Listing, Slice
from csbs.domain.task import OPEN_STATES, TaskKind

#: What an available backup is shown as while its newest task, of this kind, has not ended.
SHOWN_UNTIL_THE_END = {
    TaskKind.BACKUP: BackupState.PROTECTING,
    TaskKind.RESTORE: BackupState.RESTORING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFilter:
    """Which backups are meant; None: any."""

    #: As it is shown; a word that is no state means none.
    state: str | None = None
    server_ids: Collection[ServerId] | None = None
    checkpoint_id: CheckpointId | None = None
    policy_id: PolicyId | None = None
    name_part: str | None = None
    server_name_part: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    #: Something is asked for that no backup has.
    nothing: bool = False


def page(
    transaction: Transaction, project_id: ProjectId | None, wanted: BackupFilter, listing: Listing
) -> Slice[BackupId]:
    """Ids on the page, of the project or of all.  Raises `MarkerUnknown`."""
    shown = {"status", "updated_at"} & {key for key, _ in listing.order}
    source = Source(
        table=_with_newest_task(project_id) if shown else backups,
        id=backups.c.id,
        scope=[own(backups.c.project_id, project_id)],
        keys={
            "created_at": backups.c.created_at,
            "protected_at": backups.c.created_at,
            "name": backups.c.name,
            "status": _SHOWN_STATE,
            "updated_at": _UPDATED_AT,
        },
    )
    found = page_of_ids(transaction, source, _conditions(project_id, wanted), listing)
    return found.map(lambda ids: [BackupId(each) for each in ids])


def count(transaction: Transaction, project_id: ProjectId | None, wanted: BackupFilter) -> int:
    """How many are meant."""
    query = select(func.count()).select_from(backups).where(own(backups.c.project_id, project_id))
    return int(transaction.scalar(query.where(*_conditions(project_id, wanted))) or 0)


_newest = tasks.alias("newest")
_SHOWN_STATE: ColumnElement[str] = case(
    *(
        (
            and_(
                backups.c.state == BackupState.AVAILABLE,
                _newest.c.kind == kind,
                _newest.c.state.in_(sorted(OPEN_STATES)),
            ),
            state.value,
        )
        for kind, state in SHOWN_UNTIL_THE_END.items()
    ),
    else_=backups.c.state,
)
_UPDATED_AT: ColumnElement[datetime] = latest(
    backups.c.created_at,
    *(
        func.coalesce(moment, backups.c.created_at)
        for moment in (backups.c.finished_at, _newest.c.started_at, _newest.c.ended_at)
    ),
)


def _with_newest_task(project_id: ProjectId | None) -> FromClause:
    return backups.outerjoin(_newest, _newest.c.id == _newest_task_id(project_id))


def _newest_task_id(project_id: ProjectId | None) -> ScalarSelect[str]:
    return (
        select(tasks.c.id)
        .where(own(tasks.c.project_id, project_id), tasks.c.backup_id == backups.c.id)
        .order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
        .limit(1)
        .correlate(backups)
        .scalar_subquery()
    )


def _conditions(project_id: ProjectId | None, wanted: BackupFilter) -> Sequence[Condition]:
    if wanted.nothing:
        return [false()]
    column = backups.c
    found: list[Condition] = []
    if wanted.state is not None:
        found.append(is_shown_as(project_id, wanted.state))
    if wanted.server_ids is not None:
        found.append(column.server_id.in_(sorted(wanted.server_ids)))
    if wanted.checkpoint_id is not None:
        found.append(column.checkpoint_id == wanted.checkpoint_id)
    if wanted.policy_id is not None:
        found.append(column.policy_id == wanted.policy_id)
    if wanted.name_part is not None:
        found.append(has_part(column.name, wanted.name_part))
    if wanted.server_name_part is not None:
        found.append(has_part(column.server_name, wanted.server_name_part))
    if wanted.created_from is not None:
        found.append(column.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        found.append(column.created_at <= wanted.created_to)
    return found


def is_shown_as(project_id: ProjectId | None, state: str) -> Condition:
    """Backups that are shown in this state.

    By few open tasks instead of the newest task of each backup, so that an index serves.
    """
    busy = {shown: _is_newest_open(project_id, kind) for kind, shown in SHOWN_UNTIL_THE_END.items()}
    if state == BackupState.AVAILABLE:
        return and_(backups.c.state == state, *(~each for each in busy.values()))
    for shown, condition in busy.items():
        if state == shown:
            available = backups.c.state == BackupState.AVAILABLE
            return or_(backups.c.state == state, and_(available, condition))
    return backups.c.state == state


def _is_newest_open(project_id: ProjectId | None, kind: TaskKind) -> Condition:
    later = tasks.alias("later")
    of_kind = (own(tasks.c.project_id, project_id), tasks.c.state.in_(sorted(OPEN_STATES)))
    has_later = exists().where(
        own(later.c.project_id, project_id),
        later.c.backup_id == tasks.c.backup_id,
        tuple_(later.c.created_at, later.c.id) > tuple_(tasks.c.created_at, tasks.c.id),
    )
    return backups.c.id.in_(
        select(tasks.c.backup_id).where(*of_kind, tasks.c.kind == kind, ~has_later)
    )
