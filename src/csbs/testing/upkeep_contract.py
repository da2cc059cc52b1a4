"""What a catalog forgets, and what it never does, on any database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from csbs.catalog import Catalog, audit, backups, events, tasks, tokens, users
from csbs.catalog.access_keys import use_signature
from csbs.catalog.tokens import TokenRow
from csbs.domain.audit import AuditEvent
from csbs.domain.backup import UNSETTLED_STATES, BackupState
from csbs.domain.ids import ProjectId, TaskId
from csbs.domain.task import OPEN_STATES, Task, TaskKind, TaskState, new_task
from csbs.domain.tenancy import User, UserId
from csbs.services.upkeep import KeepDays, Upkeep
from csbs.testing.catalog_contract import entered
from csbs.testing.events import failure
from csbs.testing.values import START

DAY = timedelta(days=1)
NOW = START + 1000 * DAY
FOR_EVER = KeepDays(tasks=None, failed_tasks=None, audit=None, events=None)


def ended(catalog: Catalog, project: ProjectId, state: TaskState, age: timedelta) -> Task:
    """Enters a task of a backup that is gone, which ended so long ago, if it has ended."""
    backup = replace(entered(catalog, project, 1), state=BackupState.ERROR)
    number = 0
    with catalog.transaction() as transaction:
        number = len(tasks.of_project(transaction, project))
        task = replace(
            new_task(TaskId(f"t{number}"), TaskKind.BACKUP, backup, at=NOW - age - DAY),
            state=state,
            ended_at=None if state in OPEN_STATES else NOW - age,
        )
        tasks.add(transaction, task)
        tasks.end_step(
            transaction, task.id, tasks.begin_step(transaction, task.id, "copy", at=NOW), at=NOW
        )
        backups.remove(transaction, project, backup.id)
    return task


def event(at: datetime, project: ProjectId | None = None) -> AuditEvent:
    """Something that somebody did then."""
    return AuditEvent(
        at=at,
        project_id=project,
        user_id=UserId("u"),
        user_name="mia",
        action="create_backup",
        target="/",
        remote_address="",
        request_id="",
        result="done",
    )


def upkeep(catalog: Catalog, keep: KeepDays = FOR_EVER, **bounds: int) -> Upkeep:
    """As the service has it, at `NOW`."""
    return Upkeep(catalog=catalog, clock=lambda: NOW, keep=keep, **bounds)


def left(catalog: Catalog, project: ProjectId) -> list[Task]:
    """Tasks that are there."""
    with catalog.transaction() as transaction:
        return tasks.of_project(transaction, project)


class UpkeepContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    @pytest.mark.parametrize("state", [TaskState.DONE, TaskState.CANCELLED])
    def test_tasks_that_ended_well_go_after_their_days(
        self, catalog: Catalog, project: ProjectId, state: TaskState
    ) -> None:
        old = ended(catalog, project, state, 90 * DAY + timedelta(seconds=1))
        young = ended(catalog, project, state, 90 * DAY)

        assert upkeep(catalog, replace(FOR_EVER, tasks=90)).prune([project]) == 1

        assert left(catalog, project) == [young]
        with catalog.transaction() as transaction:
            assert tasks.steps(transaction, project, old.id) == []
            assert len(tasks.steps(transaction, project, young.id)) == 1

    def test_failed_tasks_have_days_of_their_own(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        old = ended(catalog, project, TaskState.ERROR, 400 * DAY)
        young = ended(catalog, project, TaskState.ERROR, 300 * DAY)

        upkeep(catalog, replace(FOR_EVER, tasks=1)).prune([project])
        assert left(catalog, project) == [old, young]
        upkeep(catalog, replace(FOR_EVER, failed_tasks=365)).prune([project])
        assert left(catalog, project) == [young]

    @pytest.mark.parametrize("state", sorted(OPEN_STATES))
    def test_a_task_that_has_not_ended_stays(
        self, catalog: Catalog, project: ProjectId, state: TaskState
    ) -> None:
        task = ended(catalog, project, state, 900 * DAY)

        upkeep(catalog, KeepDays(tasks=1, failed_tasks=1, audit=1)).prune([project])

        assert left(catalog, project) == [task]

    @pytest.mark.parametrize("state", UNSETTLED_STATES)
    def test_a_task_whose_backup_is_not_settled_stays(
        self, catalog: Catalog, project: ProjectId, state: BackupState
    ) -> None:
        task = ended(catalog, project, TaskState.DONE, 900 * DAY)
        backup = replace(entered(catalog, project, 1), state=state)
        with catalog.transaction() as transaction:
            backups.save(transaction, backup)

        keep = replace(FOR_EVER, tasks=1)
        assert upkeep(catalog, keep).prune([project]) == 0
        with catalog.transaction() as transaction:
            backups.save(transaction, replace(backup, state=BackupState.ERROR))
        assert upkeep(catalog, keep).prune([project]) == 1
        assert task not in left(catalog, project)

    def test_nothing_goes_where_all_is_kept_for_ever(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        for state in (TaskState.DONE, TaskState.ERROR, TaskState.CANCELLED):
            ended(catalog, project, state, 900 * DAY)
        with catalog.transaction() as transaction:
            audit.add(transaction, event(START))

        assert upkeep(catalog).prune([project]) == 0

    def test_the_trail_loses_its_old_part(self, catalog: Catalog, project: ProjectId) -> None:
        with catalog.transaction() as transaction:
            for age in (367, 366, 364):
                audit.add(transaction, event(NOW - age * DAY, project))
            audit.add(transaction, event(NOW))

        assert upkeep(catalog, replace(FOR_EVER, audit=365)).prune([]) == 2

        with catalog.transaction() as transaction:
            found = audit.after(transaction, None, number=0, limit=10)
        assert [each.at for each in found] == [NOW - 364 * DAY, NOW]

    def test_events_have_days_of_their_own(self, catalog: Catalog, project: ProjectId) -> None:
        ages = [91 * DAY, 90 * DAY + timedelta(seconds=1), 90 * DAY]
        found = [
            failure(project, number, after=NOW - START - age) for number, age in enumerate(ages)
        ]
        with catalog.transaction() as transaction:
            events.add(transaction, found)

        assert upkeep(catalog, replace(FOR_EVER, events=90)).prune([]) == 2

        with catalog.transaction() as transaction:
            [left_over] = events.newest(transaction, project, limit=9)
        assert left_over.at == NOW - 90 * DAY

    def test_a_round_is_bounded_and_the_next_one_goes_on(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        with catalog.transaction() as transaction:
            for _ in range(7):
                audit.add(transaction, event(START))
        service = upkeep(catalog, replace(FOR_EVER, audit=1), rows_max=2, batches_max=2)

        assert [service.prune([]) for _ in range(3)] == [4, 3, 0]

    def test_expired_tokens_and_signatures_go(self, catalog: Catalog, project: ProjectId) -> None:
        user = User(id=UserId("u"), name="mia", enabled=True, is_admin=False, created_at=START)
        expiries = {"old": NOW, "new": NOW + timedelta(seconds=1)}
        with catalog.transaction() as transaction:
            users.add(transaction, user, "")
            for digest, expires_at in expiries.items():
                row = TokenRow(
                    digest=digest,
                    user_id=user.id,
                    project_id=project,
                    of_domain=False,
                    methods=("password",),
                    issued_at=START,
                    expires_at=expires_at,
                )
                tokens.add(transaction, row)
                assert use_signature(transaction, digest, now=START, expires_at=expires_at)

        assert upkeep(catalog).prune([project]) == 2

        with catalog.transaction() as transaction:
            assert tokens.by_digest(transaction, "old") is None
            assert tokens.by_digest(transaction, "new") is not None
            assert use_signature(transaction, "old", now=START, expires_at=NOW)
            assert not use_signature(transaction, "new", now=START, expires_at=NOW)
