"""What a catalog keeps of events, of where they are sent, and of promises, on any database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from csbs.catalog import (
    Catalog,
    backups,
    events,
    notifications,
    policies,
    projects,
    rpo,
    servers,
    tasks,
    tracking_watches,
)
from csbs.catalog.tasks import TaskOutcome
from csbs.domain.backup import BackupState
from csbs.domain.events import Event, EventKind
from csbs.domain.ids import BackupId, DiskId, PolicyId, ProjectId, ServerId, TaskId
from csbs.domain.notification import (
    Backlog,
    Channel,
    DeliveryEnd,
    DeliveryState,
    NotificationNameTaken,
    NotificationNotFound,
    Target,
)
from csbs.domain.rpo import RpoWatch
from csbs.domain.task import TaskKind, TaskState, new_task
from csbs.domain.tracking_watch import TrackingWatch
from csbs.testing.catalog_contract import entered, waiting
from csbs.testing.events import failure
from csbs.testing.policy_catalog_contract import (
    BOUND,
    OTHER,
    SCHEDULE,
    SERVER,
    add_other_project,
    make_policy,
)
from csbs.testing.values import START

HOUR = timedelta(hours=1)
#: Than all that is made here.
LATER = START + timedelta(days=365)


def make_target(project: ProjectId, number: int = 1, **values: object) -> Target:
    """A webhook `n<number>` that wants everything."""
    target = Target(
        id=f"n{number}",
        project_id=project,
        name=f"name{number}",
        channel=Channel.WEBHOOK,
        url="https://hooks.example/",
        created_at=START,
    )
    return replace(target, **values)  # type: ignore[arg-type]  # by the names of its fields


def add_target(catalog: Catalog, target: Target) -> Target:
    """Enters the target, with a secret."""
    with catalog.transaction() as transaction:
        notifications.add(transaction, target, b"sealed")
    return target


def add_events(catalog: Catalog, found: Sequence[Event]) -> list[Event]:
    """Enters the events, and returns them as they are there."""
    with catalog.transaction() as transaction:
        events.add(transaction, found)
        return events.page(transaction, found[0].project_id, limit=1000)


class EventCatalogContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    def test_events_come_back_in_order(self, catalog: Catalog, project: ProjectId) -> None:
        given = [failure(project, number) for number in range(3)]

        found = add_events(catalog, given)

        assert [replace(each, number=0) for each in found] == given
        numbers = [each.number for each in found]
        assert numbers == sorted(set(numbers))

    def test_a_fact_that_is_recorded_again_is_no_second_event(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        add_target(catalog, make_target(project))
        given = [failure(project, number) for number in range(2)]

        add_events(catalog, [*given, given[0]])
        with catalog.transaction() as transaction:
            assert events.add(transaction, [given[1], failure(project, 3)]) == 1

        with catalog.transaction() as transaction:
            assert len(events.page(transaction, project, limit=10)) == 3
            backlog = notifications.backlog(transaction, make_target(project))
            assert backlog == Backlog(waiting=3)

    def test_more_events_than_fit_into_one_statement(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        with catalog.transaction() as transaction:
            given = [failure(project, number) for number in range(1201)]
            assert events.add(transaction, given) == 1201
            assert len(events.page(transaction, project, limit=5000)) == 1201

    def test_events_are_read_page_by_page(self, catalog: Catalog, project: ProjectId) -> None:
        found = add_events(catalog, [failure(project, number) for number in range(5)])

        with catalog.transaction() as transaction:
            assert events.page(transaction, project, limit=2) == found[:2]
            assert events.page(transaction, project, after=found[1].number, limit=9) == found[2:]
            assert events.newest(transaction, project, limit=2) == found[3:]
            kinds = [EventKind.RPO_BROKEN]
            assert events.page(transaction, project, limit=9, kinds=kinds) == []
            kinds.append(EventKind.TASK_FAILED)
            assert events.page(transaction, project, limit=9, kinds=kinds) == found
            numbers = [found[3].number, found[1].number]
            assert events.by_numbers(transaction, project, numbers) == [found[1], found[3]]

    def test_projects_see_their_own_only(self, catalog: Catalog, project: ProjectId) -> None:
        add_other_project(catalog)
        [found] = add_events(catalog, [failure(project, 1)])
        target = add_target(catalog, make_target(project))
        stranger = replace(target, project_id=OTHER)

        with catalog.transaction() as transaction:
            assert events.page(transaction, OTHER, limit=9) == []
            assert events.by_numbers(transaction, OTHER, [found.number]) == []
            assert notifications.of_project(transaction, OTHER) == []
            assert notifications.sealed_secret(transaction, OTHER, target.id) is None
            assert notifications.waiting(transaction, stranger, limit=9) == []
            assert notifications.backlog(transaction, stranger) == Backlog()
            notifications.remove(transaction, OTHER, target.id)
            gone = DeliveryEnd(state=DeliveryState.DROPPED, at=START)
            notifications.end(transaction, stranger, [found.number], gone)
            notifications.record_failure(transaction, stranger, "no", next_at=START)
            assert notifications.of_project(transaction, project) == [target]

    def test_old_events_are_forgotten_with_their_deliveries(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        target = add_target(catalog, make_target(project))
        given = [failure(project, number, after=number * HOUR) for number in range(4)]
        found = add_events(catalog, given)

        with catalog.transaction() as transaction:
            assert events.forget(transaction, before=START + 2 * HOUR, limit=1) == 1
            assert events.forget(transaction, before=START + 2 * HOUR, limit=9) == 1
            assert events.page(transaction, project, limit=9) == found[2:]
            assert notifications.backlog(transaction, target) == Backlog(waiting=2)

    def test_a_number_is_never_given_again(self, catalog: Catalog, project: ProjectId) -> None:
        [last] = add_events(catalog, [failure(project, 1)])
        with catalog.transaction() as transaction:
            events.forget(transaction, before=START + HOUR, limit=9)

        [following] = add_events(catalog, [failure(project, 2)])

        assert following.number > last.number

    def test_a_task_that_fails_is_an_event_once(self, catalog: Catalog, project: ProjectId) -> None:
        task = waiting(catalog, project)
        failed = TaskOutcome(
            state=TaskState.ERROR, ended_at=START + HOUR, error_code="StoreFull", error_message="m"
        )
        for _ in range(2):
            with catalog.transaction() as transaction:
                tasks.end(transaction, project, task.id, failed)

        with catalog.transaction() as transaction:
            [event] = events.page(transaction, project, limit=9)
        assert (event.kind, event.at) == (EventKind.TASK_FAILED, START + HOUR)
        assert event.facts["task_id"] == task.id
        assert event.facts["error_code"] == "StoreFull"

    @pytest.mark.parametrize("state", [TaskState.DONE, TaskState.CANCELLED])
    def test_a_task_that_ends_otherwise_is_none(
        self, catalog: Catalog, project: ProjectId, state: TaskState
    ) -> None:
        task = waiting(catalog, project)

        with catalog.transaction() as transaction:
            tasks.end(transaction, project, task.id, TaskOutcome(state=state, ended_at=START))
            assert events.page(transaction, project, limit=9) == []

    def test_a_task_that_was_refused_at_once_is_one(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)
        refused = replace(
            new_task(TaskId("t9"), TaskKind.BACKUP, backup, at=START),
            state=TaskState.ERROR,
            ended_at=START,
        )

        with catalog.transaction() as transaction:
            tasks.add(transaction, refused)
            [event] = events.page(transaction, project, limit=9)
        assert event.facts["task_id"] == "t9"

    def test_an_event_that_is_undone_leaves_nothing(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        target = add_target(catalog, make_target(project))

        def add_and_fail() -> None:
            with catalog.transaction() as transaction:
                events.add(transaction, [failure(project, 1)])
                raise LookupError

        with pytest.raises(LookupError):
            add_and_fail()

        with catalog.transaction() as transaction:
            assert events.page(transaction, project, limit=9) == []
            assert notifications.backlog(transaction, target) == Backlog()

    def test_targets_come_back_as_they_were(self, catalog: Catalog, project: ProjectId) -> None:
        mail = make_target(
            project,
            2,
            channel=Channel.MAIL,
            url="",
            recipients=("a@b.example", "c@d"),
            kinds=frozenset({EventKind.RPO_BROKEN, EventKind.RPO_MENDED}),
        )
        given = [add_target(catalog, each) for each in (make_target(project), mail)]

        with catalog.transaction() as transaction:
            assert notifications.of_project(transaction, project) == given
            assert notifications.find(transaction, project, "n2") == mail
            assert notifications.find(transaction, project, "name2") == mail
            assert notifications.sealed_secret(transaction, project, "n1") == b"sealed"
            with pytest.raises(NotificationNotFound):
                notifications.find(transaction, project, "n3")
            with pytest.raises(NotificationNameTaken):
                notifications.add(transaction, make_target(project, 3, name="name2"), None)

    def test_an_event_goes_to_who_wants_it(self, catalog: Catalog, project: ProjectId) -> None:
        add_other_project(catalog)
        wants = [
            add_target(catalog, make_target(project, 1)),
            add_target(catalog, make_target(project, 2, kinds=frozenset({EventKind.TASK_FAILED}))),
        ]
        not_this = make_target(project, 3, kinds=frozenset({EventKind.RPO_BROKEN}))
        others = [add_target(catalog, not_this), add_target(catalog, make_target(OTHER, 4))]

        [event] = add_events(catalog, [failure(project, 1)])

        with catalog.transaction() as transaction:
            for target in wants:
                assert notifications.waiting(transaction, target, limit=9) == [event.number]
            for target in others:
                assert notifications.waiting(transaction, target, limit=9) == []

    def test_what_has_its_turn_is_found_the_longest_neglected_first(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        target = [add_target(catalog, make_target(project, number)) for number in range(1, 6)]
        add_events(catalog, [failure(project, 1)])
        now, until = START + 10 * HOUR, START + 11 * HOUR
        at = [2, None, 1, 10.5, 12]
        with catalog.transaction() as transaction:
            for each, hours in zip(target, at, strict=True):
                if hours is not None:
                    notifications.leave_alone(transaction, each, START + hours * HOUR)

            due = notifications.due(transaction, now, until=until, limit=9)
            assert [each.id for each in due] == ["n2", "n3", "n1", "n5"]
            due = notifications.due(transaction, now, until=until, limit=2)
            assert [each.id for each in due] == ["n2", "n3"]

    def test_a_target_for_which_nothing_waits_has_no_turn(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        target = add_target(catalog, make_target(project))
        [event] = add_events(catalog, [failure(project, 1)])
        done = DeliveryEnd(state=DeliveryState.DELIVERED, at=START)

        with catalog.transaction() as transaction:
            assert notifications.with_backlog(transaction) == [target]
            notifications.end(transaction, target, [event.number], done)
            assert notifications.due(transaction, START, until=START, limit=9) == []
            assert notifications.with_backlog(transaction) == []
            assert notifications.backlog(transaction, target) == Backlog(delivered=1)

    def test_failures_are_counted_until_a_success(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        target = add_target(catalog, make_target(project))
        with catalog.transaction() as transaction:
            for number in range(2):
                next_at = START + number * HOUR
                notifications.record_failure(transaction, target, f"no {number}", next_at=next_at)
            assert notifications.failures(transaction, target) == 2
            found = notifications.find(transaction, project, target.id)
            assert (found.failures, found.last_error) == (2, "no 1")
            assert found.next_at == START + HOUR

            notifications.record_success(transaction, target, at=START + 2 * HOUR)
            found = notifications.find(transaction, project, target.id)
            assert (found.failures, found.last_error) == (0, "")
            assert found.last_delivered_at == START + 2 * HOUR

    def test_of_too_many_the_oldest_are_dropped(self, catalog: Catalog, project: ProjectId) -> None:
        target = add_target(catalog, make_target(project))
        found = add_events(catalog, [failure(project, number) for number in range(5)])

        with catalog.transaction() as transaction:
            assert notifications.drop_oldest(transaction, target, kept=5, at=START) == 0
            assert notifications.drop_oldest(transaction, target, kept=3, at=START) == 2
            left = [each.number for each in found[2:]]
            assert notifications.waiting(transaction, target, limit=9) == left
            assert notifications.backlog(transaction, target) == Backlog(waiting=3, dropped=2)

    def test_a_deleted_target_leaves_nothing(self, catalog: Catalog, project: ProjectId) -> None:
        target = add_target(catalog, make_target(project))
        add_events(catalog, [failure(project, 1)])

        with catalog.transaction() as transaction:
            notifications.remove(transaction, project, target.id)
            assert notifications.of_project(transaction, project) == []
            assert notifications.backlog(transaction, target) == Backlog()
            assert len(events.page(transaction, project, limit=9)) == 1

    def test_a_project_that_goes_takes_its_events_along(self, catalog: Catalog) -> None:
        add_other_project(catalog)
        target = add_target(catalog, make_target(OTHER))
        add_events(catalog, [failure(OTHER, 1)])

        with catalog.transaction() as transaction:
            other = projects.by_id(transaction, OTHER)
            assert other is not None
            projects.remove(transaction, other, at=START)
            assert events.page(transaction, OTHER, limit=9) == []
            assert notifications.backlog(transaction, target) == Backlog()

    def test_what_is_known_of_disks_runs_comes_back(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        entered(catalog, project, 1)
        watch = TrackingWatch(
            disk_id=DiskId("d1"), backup_id=BackupId("b1"), was_tracked=True, without=1
        )
        with catalog.transaction() as transaction:
            for without in (0, 1):
                tracking_watches.save(transaction, project, [replace(watch, without=without)])

            known = tracking_watches.of_disks(transaction, project, [watch.disk_id, DiskId("x")])
            assert known == {watch.disk_id: watch}
            assert tracking_watches.of_disks(transaction, OTHER, [watch.disk_id]) == {}


WATCH = RpoWatch(policy_id=PolicyId("p1"), policy_name="p1", terms="t", since=START, promise_s=3600)


def bind(catalog: Catalog, project: ProjectId, *, enabled: bool = True) -> None:
    """A policy `p1` with server `s`, which has backup `b1` already or not."""
    schedule = replace(SCHEDULE, enabled=enabled)
    with catalog.transaction() as transaction:
        servers.remember_server(transaction, project, SERVER, "web")
        policies.add(transaction, make_policy(project, servers=(BOUND,), schedules=(schedule,)))


class RpoCatalogContract:
    """As `EventCatalogContract`."""

    def test_policies_that_are_on_promise(self, catalog: Catalog, project: ProjectId) -> None:
        bind(catalog, project)
        off = make_policy(project, "p2", schedules=(replace(SCHEDULE, id="o2", enabled=False),))
        with catalog.transaction() as transaction:
            policies.add(transaction, off)
            policies.add(transaction, make_policy(project, "p3", schedules=()))

            found = rpo.promising(transaction)
            assert list(found) == ["p1"]
            policy = policies.get(transaction, project, PolicyId("p1"))
            assert found[policy.id].schedule == policy.schedules[0]
            assert (found[policy.id].project_id, found[policy.id].name) == (project, "p1")

    def test_a_bound_server_has_the_instant_of_its_newest_restorable_backup(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        made = [entered(catalog, project, number) for number in (1, 2, 3, 4)]
        bind(catalog, project)
        with catalog.transaction() as transaction:
            backups.set_state(transaction, project, made[3].id, BackupState.DELETING)
            backups.set_state(transaction, project, made[2].id, BackupState.RESTORING)
            [found] = rpo.watched(transaction, until=LATER)
            assert found.newest_at == made[2].created_at
            assert (found.policy_id, found.watch, found.server.id) == ("p1", None, SERVER)

            backups.remove(transaction, project, made[2].id)
            backups.remove(transaction, project, made[1].id)
            assert rpo.watched(transaction, until=LATER)[0].newest_at == made[0].created_at
            backups.remove(transaction, project, made[0].id)
            assert rpo.watched(transaction, until=LATER)[0].newest_at is None

    def test_a_backup_of_a_clock_that_was_ahead_does_not_count(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        first, second = (entered(catalog, project, number) for number in (1, 2))
        bind(catalog, project)
        for until, newest in (
            (second.created_at, second),
            (second.created_at - timedelta.resolution, first),
        ):
            with catalog.transaction() as transaction:
                [watched] = rpo.watched(transaction, until=until)
                [listed] = rpo.all_servers(transaction, project, until=until)
            assert watched.newest_at == listed.newest_at == newest.created_at

    def test_of_a_policy_that_is_off_only_what_is_watched_is_found(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        bind(catalog, project, enabled=False)
        with catalog.transaction() as transaction:
            assert rpo.watched(transaction, until=LATER) == []
            rpo.remember(transaction, {SERVER: (project, WATCH)})
            [found] = rpo.watched(transaction, until=LATER)
            assert (found.policy_id, found.watch) == (None, WATCH)
            rpo.forget(transaction, [SERVER])
            assert rpo.watched(transaction, until=LATER) == []

    def test_what_is_remembered_comes_back(self, catalog: Catalog, project: ProjectId) -> None:
        bind(catalog, project)
        broken = replace(WATCH, broken_at=START + HOUR, policy_name="renamed")
        with catalog.transaction() as transaction:
            for watch in (WATCH, broken):
                rpo.remember(transaction, {SERVER: (project, watch)})
                assert rpo.watched(transaction, until=LATER)[0].watch == watch

    def test_all_servers_of_a_project_are_listed(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        add_other_project(catalog)
        bind(catalog, project)
        with catalog.transaction() as transaction:
            servers.remember_server(transaction, project, ServerId("a"), "alone")
            servers.remember_server(transaction, OTHER, ServerId("o"), "other")
            found = rpo.all_servers(transaction, project, until=LATER)
            assert [(each.server.name, each.policy_id) for each in found] == [
                ("alone", None),
                ("web", "p1"),
            ]
            others = rpo.all_servers(transaction, OTHER, until=LATER)
            assert [each.server.name for each in others] == ["other"]
            [watched] = rpo.watched(transaction, [SERVER], until=LATER)
            assert watched.server.id == SERVER
            assert rpo.watched(transaction, [ServerId("a")], until=LATER) == []

    def test_the_last_restore_that_was_done_counts(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        backup = entered(catalog, project, 1)

        def restored(number: int, state: TaskState, started: datetime) -> None:
            task = new_task(TaskId(f"r{number}"), TaskKind.RESTORE, backup, at=started)
            outcome = TaskOutcome(state=state, ended_at=started + timedelta(minutes=number))
            with catalog.transaction() as transaction:
                tasks.add(transaction, task)
                tasks.end(transaction, project, task.id, outcome)

        restored(1, TaskState.DONE, START)
        restored(2, TaskState.DONE, START + HOUR)
        restored(3, TaskState.ERROR, START + 2 * HOUR)

        with catalog.transaction() as transaction:
            found = rpo.last_restores(transaction, project)[backup.server_id]
        assert found.ended_at - found.started_at == timedelta(minutes=2)
