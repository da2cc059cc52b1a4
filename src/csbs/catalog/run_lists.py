"""Lists of runs: what made backups together, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Subquery, case, func, literal, select

from csbs.catalog.backup_lists import is_shown_as
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
    runs = _runs(project_id)
    status = case(
        *((runs.c[f"is_{state}"] == 1, state.value) for state in _STATES),
        else_=literal(BackupState.ERROR.value),
    )
    source = Source(
        table=runs,
        id=runs.c.id,
        scope=[],
        keys={"created_at": runs.c.created_at, "status": status},
    )
    conditions: list[Condition] = []
    if wanted.state is not None:
        conditions.append(status == wanted.state)
    if wanted.policy_id is not None:
        conditions.append(runs.c.policy_id == wanted.policy_id)
    if wanted.by_hand_id is not None:
        conditions += [runs.c.policy_id.is_(None), runs.c.id == wanted.by_hand_id]
    if wanted.created_from is not None:
        conditions.append(runs.c.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        conditions.append(runs.c.created_at <= wanted.created_to)
    found = page_of_ids(transaction, source, conditions, listing)
    return found.map(lambda ids: [CheckpointId(each) for each in ids])


def _runs(project_id: ProjectId) -> Subquery:
    is_in = {
        BackupState.PROTECTING: is_shown_as(project_id, BackupState.PROTECTING),
        BackupState.DELETING: backups.c.state == BackupState.DELETING,
        BackupState.AVAILABLE: backups.c.state.in_([BackupState.AVAILABLE, BackupState.RESTORING]),
    }
    return (
        select(
            backups.c.checkpoint_id.label("id"),
            # Of one run all backups have the same.
            func.max(backups.c.policy_id).label("policy_id"),
            func.min(backups.c.created_at).label("created_at"),
            *(
                func.max(case((condition, 1), else_=0)).label(f"is_{state}")
                for state, condition in is_in.items()
            ),
        )
        .where(backups.c.project_id == project_id)
        .group_by(backups.c.checkpoint_id)
        .subquery("runs")
    )
