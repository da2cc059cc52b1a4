"""Lists as Python would make them from all rows, for comparison with what the catalog does in SQL.

Rows come from small sets of values, so that ties and equal names are usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from sqlalchemy import delete

from csbs.catalog import (
    Catalog,
    Transaction,
    backups,
    policies,
    policy_tables,
    servers,
    tables,
    tags,
    tasks,
)
from csbs.catalog.backup_lists import BackupFilter
from csbs.catalog.run_lists import RunFilter
from csbs.catalog.task_lists import KindAndState, TaskFilter
from csbs.domain.backup import Backup, BackupState
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.listing import Listing, MarkerUnknown, Slice
from csbs.domain.policy import Policy
from csbs.domain.tags import Tag, TagFilter
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.testing.policy_catalog_contract import make_policy
from csbs.testing.values import START, make_backup

T = TypeVar("T")

#: Capitals, accents, scripts, characters beyond 16 bits, wildcards of SQL: what databases sort and
#: find in ways of their own.
NAMES = ("a", "A", "b", "ab", "aB", "á", "a-b", "a_b", "a%b", "中文", "中", "z", "\uffff", "😀")
MOMENTS = tuple(START + timedelta(microseconds=number) for number in range(4))
SERVERS = tuple(ServerId(each) for each in ("s1", "s2", "S1"))
IDS = tuple(f"{number:08x}-b" for number in range(8))
RUNS = tuple(CheckpointId(f"run-{number}") for number in range(4))
POLICIES = (None, PolicyId("p1"), PolicyId("P1"))
KEYS = ("k", "K", "ß")
VALUES = ("", "v", "V", "vv", "値")
SORT_KEYS = ("created_at", "updated_at", "name", "status", "protected_at", "id")
#: Words of tasks, some equal, in another order than those of the states.
WORDS: dict[KindAndState, str] = {
    (kind, state): f"{state.value[::-1]}" if kind is TaskKind.RESTORE else state.value
    for kind in TaskKind
    for state in TaskState
}

names, moments = st.sampled_from(NAMES), st.sampled_from(MOMENTS)
maybe = st.none
kinds = maybe() | st.sampled_from(TaskKind)


@dataclass(frozen=True)
class Rows:
    """All rows of one project."""

    backups: Sequence[Backup]
    tasks: Sequence[Task]
    policies: Sequence[Policy]
    tags: Mapping[BackupId, Sequence[Tag]]

    def newest_task(self, backup_id: BackupId) -> Task | None:
        about = [each for each in self.tasks if each.backup_id == backup_id]
        return max(about, key=lambda task: (task.created_at, task.id), default=None)

    def shown(self, backup: Backup) -> Backup:
        task = self.newest_task(backup.id)
        if backup.state is not BackupState.AVAILABLE or task is None or not task.is_open:
            return backup
        words = {TaskKind.BACKUP: BackupState.PROTECTING, TaskKind.RESTORE: BackupState.RESTORING}
        return replace(backup, state=words.get(task.kind, backup.state))


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    given_tags = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
    made = [
        replace(
            make_backup(0, {}),
            id=BackupId(each),
            server_id=draw(st.sampled_from(SERVERS)),
            server_name=draw(names),
            name=draw(names),
            state=draw(st.sampled_from(BackupState)),
            created_at=draw(moments),
            finished_at=draw(maybe() | moments),
            checkpoint_id=run,
            # One policy for each run, as it is.
            policy_id=POLICIES[RUNS.index(run) % len(POLICIES)],
        )
        for each in draw(st.lists(st.sampled_from(IDS), unique=True))
        for run in [draw(st.sampled_from(RUNS))]
    ]
    jobs = [_task(draw, each) for each in draw(st.lists(st.sampled_from(IDS), unique=True))]
    plans = [
        make_policy(
            ProjectId("p"),
            each,
            name=name,
            created_at=draw(moments),
            updated_at=draw(moments),
            schedules=(),
            tags=tuple(sorted(Tag(*pair) for pair in draw(given_tags).items())),
        )
        for each, name in zip(IDS, draw(st.lists(names, unique=True, max_size=5)), strict=False)
    ]
    given = {each.id: [Tag(*pair) for pair in draw(given_tags).items()] for each in made}
    return Rows(made, jobs, plans, given)


def _task(draw: st.DrawFn, task_id: str) -> Task:
    return Task(
        id=TaskId(task_id),
        project_id=ProjectId("p"),
        kind=draw(st.sampled_from(TaskKind)),
        state=draw(st.sampled_from(TaskState)),
        server_id=SERVERS[0],
        server_name="web",
        backup_id=BackupId(draw(st.sampled_from(IDS))),
        created_at=draw(moments),
        started_at=draw(maybe() | moments),
        ended_at=draw(maybe() | moments),
    )


_orders = st.lists(st.tuples(st.sampled_from(SORT_KEYS), st.booleans()), min_size=1, max_size=3)
listings = st.builds(
    Listing,
    order=_orders.map(tuple),
    limit=st.integers(1, 4),
    marker=maybe() | st.sampled_from((*IDS, *RUNS)),
    offset=st.integers(0, 3),
)
backup_filters = st.builds(
    BackupFilter,
    state=maybe() | st.sampled_from([*BackupState, "waiting_protect"]),
    server_ids=maybe() | st.lists(st.sampled_from(SERVERS)),
    checkpoint_id=maybe() | st.sampled_from(RUNS),
    policy_id=st.sampled_from(POLICIES),
    name_part=maybe() | names,
    server_name_part=maybe() | names,
    created_from=maybe() | moments,
    created_to=maybe() | moments,
    nothing=st.sampled_from([False, False, False, True]),
)
run_filters = st.builds(
    RunFilter,
    state=maybe() | st.sampled_from(BackupState),
    policy_id=st.sampled_from(POLICIES),
    by_hand_id=maybe() | st.sampled_from(RUNS),
    created_from=maybe() | moments,
    created_to=maybe() | moments,
)
task_filters = st.builds(
    TaskFilter,
    task_id=maybe() | st.sampled_from(IDS).map(TaskId),
    any_of=maybe() | st.lists(st.sampled_from(sorted(WORDS)), unique=True),
)
_wanted_tags = st.dictionaries(
    st.sampled_from(KEYS), st.lists(st.sampled_from((*VALUES, "*v", "*")), max_size=2), max_size=2
)
tag_filters = st.builds(
    TagFilter,
    tags=_wanted_tags,
    tags_any=_wanted_tags,
    not_tags=_wanted_tags,
    not_tags_any=_wanted_tags,
    name_part=st.just("") | names,
)


def enter(catalog: Catalog, project: ProjectId, wanted: Rows) -> None:
    """These rows, and no others."""
    with catalog.transaction() as transaction:
        for table in (tables.tasks, tables.backups, policy_tables.policies):
            transaction.execute(delete(table))
        for server in SERVERS:
            servers.remember_server(transaction, project, server, "web")
        for backup in wanted.backups:
            backups.add(transaction, replace(backup, project_id=project))
            tags.set_of_backup(transaction, project, backup.id, wanted.tags[backup.id])
        for task in wanted.tasks:
            tasks.add(transaction, replace(task, project_id=project))
        for policy in wanted.policies:
            policies.add(transaction, replace(policy, project_id=project))


def sliced(
    found: Iterable[T], listing: Listing, values: Callable[[T], Mapping[str, Any]], wanted: Any
) -> list[str] | str:
    """Ids on the page, with `...` where more comes; or that the marker is unknown."""
    ordered = sorted(found, key=lambda row: values(row)["id"])
    for key, backwards in reversed(listing.order):
        if all(key in values(row) for row in ordered):
            ordered.sort(key=lambda row: values(row)[key], reverse=backwards)
    ids = [values(row)["id"] for row in ordered]
    if listing.marker is not None:
        if listing.marker not in ids:
            return "unknown"
        ordered = ordered[ids.index(listing.marker) + 1 :]
    meant = [values(row)["id"] for row in ordered if wanted(row)][listing.offset :]
    return meant[: listing.limit] + ["..."] * (len(meant) > listing.limit)


def asked(
    catalog: Catalog, page: Callable[[Transaction], Slice[Any]], id_of: Callable[[Any], str] = str
) -> list[str] | str:
    """The same of the catalog."""
    with catalog.transaction() as transaction:
        try:
            found = page(transaction)
        except MarkerUnknown:
            return "unknown"
    return [id_of(each) for each in found.rows] + ["..."] * found.more


def backup_values(wanted: Rows) -> Callable[[Backup], Mapping[str, Any]]:
    def values(backup: Backup) -> Mapping[str, Any]:
        shown, task = wanted.shown(backup), wanted.newest_task(backup.id)
        moments = [backup.created_at, backup.finished_at]
        moments += [task.started_at, task.ended_at] if task else []
        return {
            "id": backup.id,
            "created_at": backup.created_at,
            "protected_at": backup.created_at,
            "updated_at": max(each for each in moments if each is not None),
            "name": backup.name,
            "status": shown.state.value,
        }

    return values


def is_backup_meant(wanted: Rows, asked_for: BackupFilter) -> Callable[[Backup], bool]:
    def is_meant(backup: Backup) -> bool:
        f = asked_for
        return (
            not f.nothing
            and f.state in {None, wanted.shown(backup).state.value}
            and (f.server_ids is None or backup.server_id in f.server_ids)
            and f.checkpoint_id in {None, backup.checkpoint_id}
            and f.policy_id in {None, backup.policy_id}
            and (f.name_part or "") in backup.name
            and (f.server_name_part or "") in backup.server_name
            and _is_within(backup.created_at, f.created_from, f.created_to)
        )

    return is_meant


@dataclass(frozen=True)
class Run:
    """Backups that were made together."""

    backups: Sequence[Backup]

    @property
    def id(self) -> str:
        return self.backups[0].checkpoint_id

    @property
    def created_at(self) -> datetime:
        return min(each.created_at for each in self.backups)

    @property
    def status(self) -> str:
        found = {each.state for each in self.backups}
        if BackupState.RESTORING in found:
            found.add(BackupState.AVAILABLE)
        order = (BackupState.PROTECTING, BackupState.DELETING, BackupState.AVAILABLE)
        return next((each.value for each in order if each in found), "error")


def runs_of(wanted: Rows) -> list[Run]:
    found: dict[str, list[Backup]] = {}
    for each in wanted.backups:
        found.setdefault(each.checkpoint_id, []).append(wanted.shown(each))
    return [Run(each) for each in found.values()]


def run_values(run: Run) -> Mapping[str, Any]:
    return {"id": run.id, "created_at": run.created_at, "status": run.status}


def is_run_meant(asked_for: RunFilter) -> Callable[[Run], bool]:
    def is_meant(run: Run) -> bool:
        f, policy_id = asked_for, run.backups[0].policy_id
        return (
            f.state in {None, run.status}
            and f.policy_id in {None, policy_id}
            and (f.by_hand_id is None or (policy_id is None and run.id == f.by_hand_id))
            and _is_within(run.created_at, f.created_from, f.created_to)
        )

    return is_meant


def task_values(words: bool) -> Callable[[Task], Mapping[str, Any]]:  # noqa: FBT001  of a test
    return lambda task: {
        "id": task.id,
        "created_at": task.created_at,
        "updated_at": task.ended_at or task.started_at or task.created_at,
        "status": WORDS[task.kind, task.state] if words else task.state.value,
    }


def is_task_meant(asked_for: TaskFilter) -> Callable[[Task], bool]:
    return lambda task: (
        asked_for.task_id in {None, task.id}
        and (asked_for.any_of is None or (task.kind, task.state) in asked_for.any_of)
    )


def policy_values(policy: Policy) -> Mapping[str, Any]:
    return {key: getattr(policy, key) for key in ("id", "created_at", "updated_at", "name")}


def _is_within(instant: datetime, first: datetime | None, last: datetime | None) -> bool:
    return (first is None or first <= instant) and (last is None or instant <= last)
