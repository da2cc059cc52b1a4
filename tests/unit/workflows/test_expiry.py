"""Expiry: what is submitted, what is left for later, and that no plan is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.catalog import servers, tasks
from csbs.catalog.servers import UnfinishedRestore
from csbs.domain.backup import BackupState
from csbs.domain.ids import ServerId, TaskId
from csbs.domain.policy import NewSchedule, Policy, PolicyChange
from csbs.domain.task import TaskKind, TaskState, waiting_task
from csbs.services.expiry import RETRY_AFTER, Looks
from tests.unit.workflows.expiry_lab import DAY, ExpiryLab
from tests.unit.workflows.schedule_lab import DAILY, Crash

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ExpiryLab]:
    made = ExpiryLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def policy(lab: ExpiryLab) -> Policy:
    """Keeps the newest three of `s1` and `s2`."""
    return lab.policy("s1", "s2", name="nightly", pattern=DAILY, retention={"max_backups": 3})


def test_the_oldest_go_and_the_task_says_why(lab: ExpiryLab, policy: Policy) -> None:
    made = lab.nightly(policy, 5)

    assert lab.expire() == [each.id for each in made[:2]]

    assert {each.state for each in lab.backups()} == {BackupState.DELETING, BackupState.AVAILABLE}
    assert [each.note for each in lab.deletions()] == [
        "policy nightly: no rule keeps it; kept are: the newest 3"
    ] * 2
    assert set(lab.runner.held) == {each.id for each in lab.deletions()}


def test_it_may_be_repeated_at_any_time(lab: ExpiryLab, policy: Policy) -> None:
    lab.nightly(policy, 5)
    lab.expire()

    assert lab.expire() == []
    lab.delete()
    assert lab.expire() == []
    assert len(lab.backups()) == 3


def test_a_look_that_finds_nothing_keeps_nobody_waiting(lab: ExpiryLab, policy: Policy) -> None:
    lab.nightly(policy, 3)
    lab.watched.before(1, lambda: None)

    assert lab.expire() == []
    assert not lab.watched.fired


def test_each_server_has_its_own(lab: ExpiryLab, policy: Policy) -> None:
    first, second = lab.nightly(policy, 4), lab.nightly(policy, 5, "s2")

    assert lab.expire() == [first[0].id, second[0].id, second[1].id]


def test_so_many_deletions_are_under_way_at_once(lab: ExpiryLab, policy: Policy) -> None:
    lab.nightly(policy, 9)
    object.__setattr__(lab.expiry, "deletions_max", 4)

    report = lab.expiry.expire_due(lab.now)

    assert (len(report.submitted), report.left) == (4, 2)
    assert lab.expire() == []
    lab.delete()
    assert len(lab.expire()) == 2


def off(lab: ExpiryLab, policy: Policy) -> None:
    lab.change(policy, enabled=False)


def unbound(lab: ExpiryLab, policy: Policy) -> None:
    lab.change(policy, servers=[lab.bound("s2")])


def deleted(lab: ExpiryLab, policy: Policy) -> None:
    lab.policies.delete(policy.id)


def keeping_more(lab: ExpiryLab, policy: Policy) -> None:
    schedule = NewSchedule(retention={"max_backups": 9})
    lab.policies.change(policy.id, PolicyChange(schedules=[schedule]))


def permanent(lab: ExpiryLab, policy: Policy) -> None:
    schedule = NewSchedule(retention={"permanent": True})
    lab.policies.change(policy.id, PolicyChange(schedules=[schedule]))


CHANGES = [off, unbound, deleted, keeping_more, permanent]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_of_it_expires_after_a_change(
    lab: ExpiryLab, policy: Policy, change: Callable[[ExpiryLab, Policy], None]
) -> None:
    lab.nightly(policy, 5)
    change(lab, policy)

    assert lab.expire() == []
    assert all(each.state is BackupState.AVAILABLE for each in lab.backups())


@pytest.mark.parametrize("change", CHANGES)
def test_no_plan_is_old_when_it_is_carried_out(
    lab: ExpiryLab, policy: Policy, change: Callable[[ExpiryLab, Policy], None]
) -> None:
    """The change comes between the look at the policy and the transaction that submits."""
    lab.nightly(policy, 5)
    lab.watched.before(1, lambda: change(lab, policy))

    assert lab.expire() == []
    assert lab.watched.fired
    assert all(each.state is BackupState.AVAILABLE for each in lab.backups())


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_takes_back_what_has_not_begun(
    lab: ExpiryLab, policy: Policy, change: Callable[[ExpiryLab, Policy], None]
) -> None:
    oldest, *_ = lab.nightly(policy, 9)
    failed = lab.make(policy, at=lab.now - 40 * DAY, state=BackupState.ERROR)
    of_other = lab.nightly(policy, 4, "s2")
    lab.expire()
    of_server = [each for each in lab.deletions() if each.server_id == "s1"]
    [begun] = [each for each in of_server if each.backup_id == oldest.id]
    with lab.catalog.transaction() as transaction:
        tasks.begin(transaction, lab.project_id, begun.id, at=lab.now)

    change(lab, policy)

    states = {each.id: each.state for each in lab.backups()}
    assert states.pop(oldest.id) is BackupState.DELETING
    assert states.pop(failed.id) is BackupState.ERROR
    # Of the server that stays bound it goes on, if that is all that was changed.
    deleting = {each.id for each in of_other[:1]} if change is unbound else set()
    assert {name for name, state in states.items() if state is BackupState.DELETING} == deleting
    ids = {each.id for each in of_server} - {begun.id}
    ended = {each.state for each in lab.deletions() if each.id in ids}
    assert ended == {TaskState.CANCELLED}
    assert not states.keys() & set(lab.expire())


def test_another_change_takes_nothing_back(lab: ExpiryLab, policy: Policy) -> None:
    lab.nightly(policy, 5)
    lab.expire()

    lab.policies.change(policy.id, PolicyChange(description="of the night"))

    assert {each.state for each in lab.deletions()} == {TaskState.WAITING}


def test_what_a_person_deletes_too_is_not_taken_back(lab: ExpiryLab, policy: Policy) -> None:
    asked_before, asked_later, alone, *_ = (each.id for each in lab.nightly(policy, 6))
    lab.policies.backups.submit_deletion(asked_before)
    lab.expire()
    lab.policies.backups.submit_deletion(asked_later)

    off(lab, policy)

    states = {each.id: each.state for each in lab.backups()}
    assert states[asked_before] is states[asked_later] is BackupState.DELETING
    assert states[alone] is BackupState.AVAILABLE


def test_the_newest_restorable_stays_when_newer_ones_went_meanwhile(
    lab: ExpiryLab, policy: Policy
) -> None:
    made = lab.nightly(policy, 5)

    def delete_by_hand() -> None:
        for each in made[1:]:
            lab.policies.backups.submit_deletion(each.id)

    lab.watched.before(1, delete_by_hand)

    assert lab.expire() == []
    assert lab.watched.fired
    states = {each.id: each.state for each in lab.backups()}
    assert states[made[0].id] is BackupState.AVAILABLE


def test_a_backup_that_is_restored_is_left_for_later(lab: ExpiryLab, policy: Policy) -> None:
    made = lab.nightly(policy, 5)
    with lab.catalog.transaction() as transaction:
        restore = UnfinishedRestore(backup_id=made[0].id, autostart=False)
        servers.begin_restore(transaction, lab.project_id, ServerId("s1"), restore)

    assert lab.expire() == [made[1].id]

    with lab.catalog.transaction() as transaction:
        servers.end_restore(transaction, lab.project_id, ServerId("s1"))
    assert lab.expire() == [made[0].id]


def test_a_backup_whose_restore_waits_is_left_for_later(lab: ExpiryLab, policy: Policy) -> None:
    made = lab.nightly(policy, 5)
    restore = waiting_task(TaskId("t"), TaskKind.RESTORE, made[1], at=lab.now, request={"a": 1})
    with lab.catalog.transaction() as transaction:
        tasks.add(transaction, restore)

    assert lab.expire() == [made[0].id]


def test_a_deletion_that_failed_is_tried_again_later(lab: ExpiryLab, policy: Policy) -> None:
    made = lab.nightly(policy, 4)
    lab.expire()
    lab.fail_deletions()

    assert lab.expire() == []
    lab.now += RETRY_AFTER - MINUTE
    assert lab.expire() == []
    lab.now += MINUTE
    assert lab.expire() == [made[0].id]
    assert lab.deletions()[-1].note == "policy nightly: its deletion failed, and is tried again"


def test_failed_backups_go_but_for_ten(lab: ExpiryLab, policy: Policy) -> None:
    failed = [
        lab.make(policy, at=lab.now - each * MINUTE, state=BackupState.ERROR)
        for each in range(12, 0, -1)
    ]

    assert lab.expire() == [each.id for each in failed[:2]]


def test_manual_backups_and_those_of_others_stay(lab: ExpiryLab, policy: Policy) -> None:
    made = lab.nightly(policy, 4)
    lab.make(policy, at=lab.now - 99 * DAY, auto=False)
    lab.make(None, at=lab.now - 98 * DAY, auto=False)

    assert lab.expire() == [made[0].id]


def test_what_fails_for_one_policy_does_not_stop_the_others(lab: ExpiryLab) -> None:
    first = lab.policy("s1", name="first", retention={"max_backups": 1})
    second = lab.policy("s2", name="second", retention={"max_backups": 1})
    lab.nightly(first, 2)
    (old, _) = lab.nightly(second, 2, "s2")
    _break_zone(lab, first)

    assert lab.expire() == [old.id]


def _break_zone(lab: ExpiryLab, policy: Policy) -> None:
    """As a name of a zone that a newer data base of zones has no more."""
    from sqlalchemy import update  # noqa: PLC0415  nobody else here needs it

    from csbs.catalog.policy_tables import schedules  # noqa: PLC0415  likewise

    with lab.catalog.transaction() as transaction:
        transaction.execute(
            update(schedules)
            .where(schedules.c.policy_id == policy.id)
            .values(retention={"max_backups": 1, "timezone": "Mars/Olympus"})
        )


def test_a_policy_with_many_backups_is_looked_at_less_often(lab: ExpiryLab, policy: Policy) -> None:
    looks = Looks()
    lab.nightly(policy, 3)
    lab.expiry.expire_due(lab.now, looks)
    lab.make(policy, at=lab.now)

    assert lab.expiry.expire_due(lab.now, looks).submitted == ()
    lab.now += 3 * timedelta(milliseconds=100)
    assert len(lab.expiry.expire_due(lab.now, looks).submitted) == 1


def test_a_policy_that_was_changed_is_looked_at_at_once(lab: ExpiryLab, policy: Policy) -> None:
    looks = Looks()
    lab.nightly(policy, 3)
    lab.expiry.expire_due(lab.now, looks)
    lab.now += timedelta(microseconds=1)
    lab.policies.change(
        policy.id, PolicyChange(schedules=[NewSchedule(retention={"max_backups": 1})])
    )

    assert len(lab.expiry.expire_due(lab.now, looks).submitted) == 2


def test_a_clock_that_is_set_back_keeps_nobody_from_looking(lab: ExpiryLab, policy: Policy) -> None:
    looks = Looks()
    lab.nightly(policy, 3)
    lab.now += timedelta(hours=3)
    lab.expiry.expire_due(lab.now, looks)
    lab.now -= timedelta(hours=2)
    lab.make(policy, at=lab.now)

    assert len(lab.expiry.expire_due(lab.now, looks).submitted) == 1


@pytest.mark.parametrize("where", ["before the end of", "behind"])
@pytest.mark.parametrize("crash_at", range(1, 4))
def test_a_crash_anywhere_leaves_what_the_next_life_ends(
    lab: ExpiryLab, policy: Policy, crash_at: int, where: str
) -> None:
    first, second = lab.nightly(policy, 5), lab.nightly(policy, 5, "s2")
    object.__setattr__(lab.expiry, "catalog", lab.catalog)
    lab.catalog.crash_at, lab.catalog.behind = crash_at, where == "behind"
    if crash_at <= 2:
        with pytest.raises(Crash):
            lab.expire()
    else:
        lab.expire()
    lab.catalog.crash_at = 0
    lab.runner.held.clear()

    lab.next_life()
    lab.expire()
    lab.delete()

    left = {each.id for each in lab.backups()}
    assert left == {each.id for each in (*first[2:], *second[2:])}
    gone = [each.backup_id for each in lab.deletions()]
    assert sorted(gone) == sorted(each.id for each in (*first[:2], *second[:2]))
    assert {each.state for each in lab.deletions()} == {TaskState.DONE}
