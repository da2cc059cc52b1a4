"""Lists of backups as they are looked at (`csbs.services.backup_views`), a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Subquery,
    and_,
    case,
    exists,
    false,
    func,
    select,
    tuple_,
    union_all,
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
    keys = {
        "created_at": backups.c.created_at,
        "protected_at": backups.c.created_at,
        "name": backups.c.name,
        "status": shown_state(project_id),
    }
    table: FromClause = backups
    if "updated_at" in {key for key, _ in listing.order}:
        newest = _newest_tasks(project_id)
        table = backups.outerjoin(newest, newest.c.backup_id == backups.c.id)
        keys["updated_at"] = _updated_at(newest)
    source = Source(
        table=table, id=backups.c.id, scope=[own(backups.c.project_id, project_id)], keys=keys
    )
    found = page_of_ids(transaction, source, _conditions(project_id, wanted), listing)
    return found.map(lambda ids: [BackupId(each) for each in ids])


def count(transaction: Transaction, project_id: ProjectId | None, wanted: BackupFilter) -> int:
    """How many are meant."""
    query = select(func.count()).select_from(backups).where(own(backups.c.project_id, project_id))
    return int(transaction.scalar(query.where(*_conditions(project_id, wanted))) or 0)


def _is_shown_as(project_id: ProjectId | None, state: str) -> Condition:
    """Backups that are shown in this state.

    By few open tasks instead of the newest task of each backup, so that an index serves.
    """
    if state == BackupState.AVAILABLE:
        busy = (_is_newest_open(project_id, kind) for kind in SHOWN_UNTIL_THE_END)
        return and_(backups.c.state == state, *(~each for each in busy))
    for kind, shown in SHOWN_UNTIL_THE_END.items():
        if state == shown:
            # Two queries by an index each: an `or` would be looked up in all backups.
            same = backups.alias("same")
            ours = select(same.c.id).where(own(same.c.project_id, project_id))
            busy_too = _is_newest_open(project_id, kind, same)
            return backups.c.id.in_(
                union_all(
                    ours.where(same.c.state == state),
                    ours.where(same.c.state == BackupState.AVAILABLE, busy_too),
                )
            )
    return backups.c.state == state


def shown_state(project_id: ProjectId | None, table: FromClause = backups) -> ColumnElement[str]:
    """The state in which a backup of the table is shown."""
    is_available = table.c.state == BackupState.AVAILABLE
    return case(
        *(
            (and_(is_available, _is_newest_open(project_id, kind, table)), shown.value)
            for kind, shown in SHOWN_UNTIL_THE_END.items()
        ),
        else_=table.c.state,
    )


def _is_newest_open(
    project_id: ProjectId | None, kind: TaskKind, table: FromClause = backups
) -> Condition:
    """The newest task about the backup has not ended, and is of this kind."""
    later = tasks.alias("later")
    has_later = exists().where(
        own(later.c.project_id, project_id),
        later.c.backup_id == tasks.c.backup_id,
        tuple_(later.c.created_at, later.c.id) > tuple_(tasks.c.created_at, tasks.c.id),
    )
    return table.c.id.in_(
        select(tasks.c.backup_id).where(
            own(tasks.c.project_id, project_id),
            tasks.c.state.in_(sorted(OPEN_STATES)),
            tasks.c.kind == kind,
            ~has_later,
        )
    )


def _newest_tasks(project_id: ProjectId | None) -> Subquery:
    """The newest task about each backup that has some."""
    newest_first = [tasks.c.created_at.desc(), tasks.c.id.desc()]
    place = func.row_number().over(partition_by=tasks.c.backup_id, order_by=newest_first)
    numbered = (
        select(tasks.c.backup_id, tasks.c.started_at, tasks.c.ended_at, place.label("place"))
        .where(own(tasks.c.project_id, project_id))
        .subquery("numbered")
    )
    return select(numbered).where(numbered.c.place == 1).subquery("newest")


def _updated_at(newest: Subquery) -> ColumnElement[datetime]:
    known = (backups.c.finished_at, newest.c.started_at, newest.c.ended_at)
    return latest(
        backups.c.created_at, *(func.coalesce(each, backups.c.created_at) for each in known)
    )


def _conditions(project_id: ProjectId | None, wanted: BackupFilter) -> Sequence[Condition]:
    if wanted.nothing:
        return [false()]
    column = backups.c
    found: list[Condition] = []
    if wanted.state is not None:
        found.append(_is_shown_as(project_id, wanted.state))
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
