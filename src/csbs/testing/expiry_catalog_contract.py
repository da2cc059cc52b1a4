"""What retention and collection ask of a catalog, on any database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from csbs.catalog import Catalog, backups, collections, expiry, servers, tasks
from csbs.catalog.servers import UnfinishedRestore
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.collection import CollectionFacts
from csbs.domain.ids import PolicyId, ProjectId, TaskId
from csbs.domain.task import TaskKind, new_task, waiting_task
from csbs.testing.catalog_contract import entered
from csbs.testing.values import START

HOUR = timedelta(hours=1)
POLICY = PolicyId("p")


def automatic(catalog: Catalog, project: ProjectId, number: int) -> Backup:
    """A backup that the policy made."""
    made = replace(entered(catalog, project, number), policy_id=POLICY, auto_trigger=True)
    with catalog.transaction() as transaction:
        backups.save(transaction, made)
    return made


class ExpiryCatalogContract:
    """What every catalog keeps.  Subclass it once for each database, with `catalog`, `project`."""

    def test_backups_of_a_policy_come_oldest_first(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        second, first = (automatic(catalog, project, number) for number in (2, 1))
        entered(catalog, project, 3)
        with catalog.transaction() as transaction:
            backups.save(
                transaction,
                replace(first, state=BackupState.ERROR, fail_op=FailedOperation.DELETE),
            )
            found = expiry.of_policy(transaction, project, POLICY)
            alone = expiry.of_policy(transaction, project, POLICY, first.server_id)
            other = expiry.of_policy(transaction, ProjectId("0" * 32), POLICY)
            names = expiry.names(transaction, project, POLICY)

        assert [each.id for each in found] == [first.id, second.id]
        assert [each.created_at for each in found] == [first.created_at, second.created_at]
        assert [each.state for each in found] == [BackupState.ERROR, BackupState.AVAILABLE]
        assert [each.failed for each in found] == [FailedOperation.DELETE, None]
        assert all(each.auto_trigger and not each.held for each in found)
        assert (alone, other) == (found, [])
        assert names == {each.id: (each.name, each.server_name) for each in (first, second)}

    def test_what_somebody_waits_for_is_held(self, catalog: Catalog, project: ProjectId) -> None:
        first, second, third = (automatic(catalog, project, number) for number in (1, 2, 3))
        task = waiting_task(TaskId("t"), TaskKind.RESTORE, second, at=START, request={"a": 1})
        with catalog.transaction() as transaction:
            restore = UnfinishedRestore(backup_id=first.id, autostart=False)
            servers.begin_restore(transaction, project, first.server_id, restore)
            tasks.add(transaction, task)
            found = expiry.of_policy(transaction, project, POLICY)

        held = {each.id: each.held for each in found}
        assert held == {
            first.id: "a restore of it is not finished",
            second.id: "a restore of it waits",
            third.id: "",
        }

    def test_open_deletions_are_counted(self, catalog: Catalog, project: ProjectId) -> None:
        backup = automatic(catalog, project, 1)
        with catalog.transaction() as transaction:
            assert expiry.open_deletions(transaction, project) == 0
            for number, kind in enumerate((TaskKind.DELETION, TaskKind.DELETION, TaskKind.BACKUP)):
                task = waiting_task(TaskId(f"t{number}"), kind, backup, at=START, request={})
                tasks.add(transaction, task)
            assert expiry.open_deletions(transaction, project) == 2

    def test_what_waits_to_be_freed_waits_from_the_first_on(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        with catalog.transaction() as transaction:
            assert collections.facts(transaction, project) == CollectionFacts()
            collections.want(transaction, project, at=START)
            collections.want(transaction, project, at=START + HOUR)
            assert collections.facts(transaction, project).wanted_since == START
            assert collections.waiting_since(transaction) == [START]
            collections.begin(transaction, project, at=START + HOUR)
            collections.break_off(transaction, project, "it was cancelled")
            collections.alarm(transaction, project, at=START + HOUR)
            assert collections.facts(transaction, project) == CollectionFacts(
                wanted_since=START,
                tried_at=START + HOUR,
                why_not="it was cancelled",
                alarmed_at=START + HOUR,
            )
            collections.end(transaction, project, at=START + 2 * HOUR)
            assert collections.facts(transaction, project) == CollectionFacts(
                ended_at=START + 2 * HOUR
            )
            assert collections.waiting_since(transaction) == []

    @pytest.mark.parametrize("durable", ["of a service", "of a dead command"])
    def test_only_tasks_of_a_service_use_the_repository(
        self, catalog: Catalog, project: ProjectId, durable: str
    ) -> None:
        backup = automatic(catalog, project, 1)
        task = new_task(TaskId("t"), TaskKind.BACKUP, backup, at=START)
        of_service = durable == "of a service"
        with catalog.transaction() as transaction:
            assert not collections.is_in_use(transaction, project)
            tasks.add(transaction, replace(task, request={"a": 1} if of_service else {}))
            assert collections.is_in_use(transaction, project) is of_service
