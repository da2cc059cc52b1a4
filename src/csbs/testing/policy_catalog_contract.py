"""What a catalog keeps of policies, tags and quotas, on any database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from csbs.catalog import Catalog, backups, policies, projects, quotas, servers, tags, tasks
from csbs.domain.backup import BackupState
from csbs.domain.consistency import ApplicationMode
from csbs.domain.errors import BackupNotFound
from csbs.domain.ids import BackupId, CheckpointId, DiskId, PolicyId, ProjectId, ServerId
from csbs.domain.policy import (
    BoundServer,
    Policy,
    PolicyNameTaken,
    PolicyNotFound,
    Retention,
    Schedule,
    ServerBound,
)
from csbs.domain.quota import Quotas
from csbs.domain.tags import Tag
from csbs.domain.tenancy import Project
from csbs.testing.catalog_contract import entered, waiting
from csbs.testing.values import START

SERVER = ServerId("s")
OTHER = ProjectId("f" * 32)
SCHEDULE = Schedule(
    id="o1",
    name="s1",
    description="d",
    enabled=False,
    retention=Retention(max_backups=3, day_backups=7, timezone="UTC+08:00"),
    trigger_id="t1",
    trigger_name="default",
    pattern="RRULE:FREQ=DAILY\r\n",
    starts_at=START,
)
BOUND = BoundServer(
    id=SERVER,
    kind="OS::Nova::Server",
    name="web",
    exclude_disks=frozenset({DiskId("d2")}),
    extra={"note": ["mine"]},
)


def make_policy(project: ProjectId, policy_id: str = "p1", **values: object) -> Policy:
    """A policy without servers, unless `values` has some."""
    policy = Policy(
        id=PolicyId(policy_id),
        project_id=project,
        name=policy_id,
        description="every night",
        created_at=START,
        updated_at=START,
        parameters={"common": {"a": 1}},
        application=ApplicationMode.PREFERRED,
        schedules=(replace(SCHEDULE, id=f"o-{policy_id}"),),
    )
    return replace(policy, **values)  # type: ignore[arg-type]  # by the names of its fields


def add(catalog: Catalog, policy: Policy) -> Policy:
    """Enters the policy, and server `s`."""
    with catalog.transaction() as transaction:
        servers.remember_server(transaction, policy.project_id, SERVER, "web")
        policies.add(transaction, policy)
    return policy


def add_other_project(catalog: Catalog) -> None:
    """Enters a second project."""
    with catalog.transaction() as transaction:
        projects.add(transaction, Project(id=OTHER, name="local_other"))


class PolicyCatalogContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    def test_a_policy_comes_back_as_it_was(self, catalog: Catalog, project: ProjectId) -> None:
        given = (Tag("a", "1"), Tag("b", ""))
        policy = add(catalog, make_policy(project, servers=(BOUND,), tags=given))

        with catalog.transaction() as transaction:
            assert policies.get(transaction, project, policy.id) == policy
            assert policies.of_project(transaction, project) == [policy]
            assert policies.count(transaction, project) == 1
            assert policies.of_server(transaction, project, SERVER) == policy.id

    def test_a_policy_is_written_anew_with_its_parts(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        add(catalog, make_policy(project, servers=(BOUND,), tags=(Tag("a", "1"),)))
        changed = make_policy(project, name="new", schedules=(), tags=(Tag("b", "2"),))

        with catalog.transaction() as transaction:
            policies.save(transaction, changed)
            assert policies.get(transaction, project, changed.id) == changed
            assert policies.of_server(transaction, project, SERVER) is None

    def test_a_removed_policy_leaves_nothing(self, catalog: Catalog, project: ProjectId) -> None:
        policy = add(catalog, make_policy(project, servers=(BOUND,), tags=(Tag("a", "1"),)))

        with catalog.transaction() as transaction:
            policies.remove(transaction, project, policy.id)

        with catalog.transaction() as transaction:
            assert policies.of_project(transaction, project) == []
            assert policies.of_server(transaction, project, SERVER) is None
            with pytest.raises(PolicyNotFound):
                policies.get(transaction, project, policy.id)
            with pytest.raises(PolicyNotFound):
                policies.remove(transaction, project, policy.id)

    def test_names_are_unique_in_a_project(self, catalog: Catalog, project: ProjectId) -> None:
        add(catalog, make_policy(project))
        add_other_project(catalog)
        add(catalog, make_policy(OTHER, "p2", name="p1"))

        with pytest.raises(PolicyNameTaken):
            add(catalog, make_policy(project, "p3", name="p1"))

    def test_a_server_is_bound_once(self, catalog: Catalog, project: ProjectId) -> None:
        first = add(catalog, make_policy(project, servers=(BOUND,)))

        with pytest.raises(ServerBound) as raised:
            add(catalog, make_policy(project, "p2", servers=(BOUND,)))

        assert raised.value.policy == first.id
        assert raised.value.policy_name == first.name
        with catalog.transaction() as transaction:
            assert policies.count(transaction, project) == 1

    def test_of_two_at_once_one_binds_the_server(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        def bind(number: int) -> bool:
            try:
                add(catalog, make_policy(project, f"p{number}", servers=(BOUND,)))
            except ServerBound:
                return False
            return True

        with catalog.transaction() as transaction:
            servers.remember_server(transaction, project, SERVER, "web")
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(bind, range(8))) == 1

    def test_policies_of_another_project_are_not_there(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        policy = add(catalog, make_policy(project, servers=(BOUND,)))

        with catalog.transaction() as transaction:
            assert policies.of_project(transaction, OTHER) == []
            assert policies.count(transaction, OTHER) == 0
            assert policies.of_server(transaction, OTHER, SERVER) is None
            for lookup in (policies.get, policies.remove):
                with pytest.raises(PolicyNotFound):
                    lookup(transaction, OTHER, policy.id)

    def test_tags_of_backups_are_set_and_go_with_them(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)
        given = (Tag("a", "1"), Tag("b", "2"))

        with catalog.transaction() as transaction:
            tags.set_of_backup(transaction, project, backup.id, (Tag("old", ""),))
            tags.set_of_backup(transaction, project, backup.id, given)
            assert tags.of_backup(transaction, project, backup.id) == given
            assert tags.of_backups(transaction, project, [backup.id]) == {backup.id: given}
            assert tags.of_backups(transaction, OTHER, [backup.id]) == {}
            backups.save(transaction, backup)
            assert tags.of_backup(transaction, project, backup.id) == given
            backups.remove(transaction, project, backup.id)
            assert tags.of_backups(transaction, project, [backup.id]) == {}

    def test_runs_and_policies_have_their_backups(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        first, second = entered(catalog, project, 1), entered(catalog, project, 2)
        made = replace(second, policy_id=PolicyId("p"), checkpoint_id=CheckpointId("run"))

        with catalog.transaction() as transaction:
            backups.save(transaction, made)
            assert backups.of_runs(transaction, project, [made.checkpoint_id]) == [made]
            assert backups.of_runs(transaction, project, [first.checkpoint_id]) == [first]
            assert backups.of_runs(transaction, OTHER, [made.checkpoint_id]) == []
            ids = [made.checkpoint_id, first.checkpoint_id]
            assert backups.states_of_runs(transaction, project, ids) == {
                each.checkpoint_id: {each.state: 1} for each in (made, first)
            }
            assert backups.states_of_runs(transaction, OTHER, ids) == {}
            assert not backups.is_policy_at_work(transaction, project, PolicyId("p"))
            backups.save(transaction, replace(made, state=BackupState.PROTECTING))
            assert backups.is_policy_at_work(transaction, project, PolicyId("p"))
            assert not backups.is_policy_at_work(transaction, OTHER, PolicyId("p"))
            with pytest.raises(BackupNotFound):
                backups.get(transaction, OTHER, made.id)

    def test_the_newest_task_of_each_backup(self, catalog: Catalog, project: ProjectId) -> None:
        task = waiting(catalog, project)

        with catalog.transaction() as transaction:
            ids = [task.backup_id]
            assert tasks.newest_of_backups(transaction, project, ids) == {task.backup_id: task}
            assert tasks.newest_of_backups(transaction, OTHER, ids) == {}

    def test_a_backup_that_is_being_deleted_counts_in_nothing(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        add_other_project(catalog)
        for number in (1, 2, 3):
            entered(catalog, project, number)

        with catalog.transaction() as transaction:
            assert backups.count(transaction, project) == 3
            assert backups.storage_bytes(transaction, project) == 15
            backups.set_state(transaction, project, BackupId("b1"), BackupState.DELETING)
            assert backups.count(transaction, project) == 2
            assert backups.storage_bytes(transaction, project) == 10
            assert backups.count(transaction, OTHER) == 0
            assert backups.storage_bytes(transaction, OTHER) == 0

    def test_quotas_are_as_usual_until_they_are_set(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        add_other_project(catalog)
        with catalog.transaction() as transaction:
            assert quotas.of_project(transaction, project) == Quotas()
            quotas.set_limit(transaction, project, "backups", 3)
            quotas.set_limit(transaction, project, "backups", 4)
            quotas.set_limit(transaction, project, "policies", None)
            assert quotas.of_project(transaction, project) == Quotas(backups=4, policies=None)
            assert quotas.of_project(transaction, OTHER) == Quotas()
