"""Lists of runs: what made backups together, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, exists, literal, tuple_

from csbs.catalog.backup_lists import shown_state
from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import Condition, Source, page_of_ids
from csbs.catalog.tables import backups
from csbs.domain.backup import BackupState
from csbs.domain.ids import CheckpointId, PolicyId, ProjectId
from csbs.domain.listing import Listing, Slice

#: A run is as far as the backup that is least far; else it failed.
_STATES = (BackupState.PROTECTING, BackupState.DELETING, BackupState.AVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant; None: any."""

    state: str | None = None
    policy_id: PolicyId | None = None
    #: One that no policy made.
    by_hand_id: CheckpointId | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


def page(
    transaction: Transaction, project_id: ProjectId, wanted: RunFilter, listing: Listing
) -> Slice[CheckpointId]:
    """Ids on the page.  Raises `MarkerUnknown`."""
    own = backups.c.project_id == project_id
    status = _status(project_id)
    source = Source(
        table=backups,
        id=backups.c.checkpoint_id,
        scope=[own, _is_first()],
        keys={"created_at": backups.c.created_at, "status": status},
    )
    conditions: list[Condition] = []
    if wanted.state is not None:
        conditions.append(status == wanted.state)
    if wanted.policy_id is not None:
        conditions.append(backups.c.policy_id == wanted.policy_id)
    if wanted.by_hand_id is not None:
        by_hand = backups.c.policy_id.is_(None)
        conditions += [by_hand, backups.c.checkpoint_id == wanted.by_hand_id]
    if wanted.created_from is not None:
        conditions.append(backups.c.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        conditions.append(backups.c.created_at <= wanted.created_to)
    found = page_of_ids(transaction, source, conditions, listing)
    return found.map(lambda ids: [CheckpointId(each) for each in ids])


def _is_first() -> Condition:
    """The backup is the oldest one of its run, and stands for it."""
    older = backups.alias("older")
    return ~exists().where(
        older.c.project_id == backups.c.project_id,
        older.c.checkpoint_id == backups.c.checkpoint_id,
        tuple_(older.c.created_at, older.c.id) < tuple_(backups.c.created_at, backups.c.id),
    )


def _status(project_id: ProjectId) -> ColumnElement[str]:
    member = backups.alias("member")
    shown = shown_state(project_id, member)
    is_there = {BackupState.AVAILABLE: (BackupState.AVAILABLE, BackupState.RESTORING)}

    def has(state: BackupState) -> Condition:
        return exists().where(
            member.c.project_id == project_id,
            member.c.checkpoint_id == backups.c.checkpoint_id,
            shown.in_(is_there.get(state, (state,))),
        )

    return case(
        *((has(state), state.value) for state in _STATES), else_=literal(BackupState.ERROR.value)
    )
