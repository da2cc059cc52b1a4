"""The look at all servers, over a real catalog."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from csbs.catalog import Catalog, Transaction, backups, events, policies, rpo, servers
from csbs.domain.backup import BackupState
from csbs.domain.events import Event, EventKind
from csbs.domain.ids import BackupId, PolicyId, ProjectId, ServerId
from csbs.domain.policy import BoundServer, InvalidPolicy, Policy, Schedule
from csbs.domain.rpo import RpoStatus
from csbs.domain.server import ServerRef
from csbs.services.lookout import Lookout
from csbs.services.rpo import RpoLook, RpoService, RpoSummary, gap_in
from csbs.testing.fake_clock import FakeClock
from csbs.testing.policy_catalog_contract import SCHEDULE, make_policy
from csbs.testing.values import START, make_backup

HOUR = timedelta(hours=1)
WEB = ServerId("web-id")


class Lab:
    """A catalog in which time passes."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.catalog = Catalog.open(folder / "catalog.sqlite")
        home = self.catalog.home(clock=self.clock, new_id=lambda: str(uuid4()))
        self.project: ProjectId = home.project_id
        self.look = RpoLook(
            catalog=self.catalog, clock=self.clock, gap_of=gap_of, grace=HOUR, worst_max=2
        )
        self.service = RpoService(
            catalog=self.catalog,
            project_id=self.project,
            clock=self.clock,
            gap_of=gap_of,
            grace=HOUR,
        )

    def policy(self, pattern: str = "RRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=0") -> Policy:
        """Policy `p1` that is on, without servers."""
        schedule = replace(SCHEDULE, enabled=True, pattern=pattern, starts_at=START)
        policy = make_policy(self.project, schedules=(schedule,))
        with self.catalog.transaction() as transaction:
            policies.add(transaction, policy)
        return policy

    def bind(self, policy: Policy, *ids: ServerId) -> Policy:
        """These are its servers."""
        bound = tuple(BoundServer(id=each, kind="server", name=each) for each in ids)
        with self.catalog.transaction() as transaction:
            for each in ids:
                servers.remember_server(transaction, self.project, each, f"name of {each}")
        return self.save(replace(policy, servers=bound))

    def save(self, policy: Policy) -> Policy:
        with self.catalog.transaction() as transaction:
            policies.save(transaction, policy)
        return policy

    def switch(self, policy: Policy, *, on: bool) -> Policy:
        return self.save(replace(policy, schedules=(replace(policy.schedules[0], enabled=on),)))

    def back_up(self, server_id: ServerId = WEB) -> None:
        backup = replace(
            make_backup(0, {}),
            id=BackupId(str(uuid4())),
            project_id=self.project,
            server_id=server_id,
            created_at=self.clock.now,
            state=BackupState.AVAILABLE,
        )
        with self.catalog.transaction() as transaction:
            backups.add(transaction, backup)

    def events(self) -> list[Event]:
        with self.catalog.transaction() as transaction:
            return events.page(transaction, self.project, limit=1000)

    def told(self) -> list[str]:
        return [each.kind.value.removeprefix("rpo_") for each in self.events()]


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a kill -9."""


class DyingCatalog(Catalog):
    """Dies at the end of the n-th transaction, before it is committed."""

    def __init__(self, catalog: Catalog, *, at: int) -> None:
        super().__init__(catalog._engine, name=catalog._name)
        self._left = at

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            yield transaction
            self._left -= 1
            if self._left == 0:
                raise Crash


gap_of = partial(gap_in, "UTC")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="csbs-test-", dir="/dev/shm") as folder:
        made = Lab(Path(folder))
        yield made
        made.catalog.close()


def test_a_promise_that_is_broken_is_told_once_and_once_that_it_is_mended(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.back_up()
    for _ in range(200):
        lab.clock.advance(timedelta(minutes=10))
        lab.look.look()
    lab.back_up()
    for _ in range(20):
        lab.clock.advance(timedelta(minutes=10))
        lab.look.look()

    broken, mended = lab.events()
    assert (broken.kind, mended.kind) == (EventKind.RPO_BROKEN, EventKind.RPO_MENDED)
    assert broken.at == START + timedelta(minutes=20) + 25 * HOUR
    assert broken.facts == {
        "policy_id": "p1",
        "policy_name": "p1",
        "promise_s": 25 * 3600,
        "newest_backup_at": START.isoformat(),
        "broken_at": broken.at.isoformat(),
    }
    assert broken.server is not None
    assert broken.server.name == "name of web-id"
    assert mended.facts["why"] == "backed_up"
    assert mended.facts["broken_at"] == broken.at.isoformat()


def test_a_restart_repeats_nothing_and_finds_what_was_broken_meanwhile(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(30 * HOUR)
    for _ in range(2):
        replace(lab.look).look()

    assert lab.told() == ["broken"]


def test_a_look_that_dies_leaves_neither_the_event_nor_the_mark(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(30 * HOUR)

    with pytest.raises(Crash):
        replace(lab.look, catalog=DyingCatalog(lab.catalog, at=1)).look()
    assert lab.told() == []
    lab.look.look()
    assert lab.told() == ["broken"]


def test_a_server_that_was_never_backed_up_counts_from_binding(lab: Lab) -> None:
    policy = lab.policy()
    lab.clock.advance(500 * HOUR)
    lab.bind(policy, WEB)
    lab.look.look()
    lab.clock.advance(25 * HOUR)
    lab.look.look()
    assert lab.told() == []
    lab.clock.advance(timedelta(minutes=1))
    lab.look.look()

    [event] = lab.events()
    assert event.facts["newest_backup_at"] is None


@pytest.mark.parametrize("how", ["off", "unbound", "deleted"])
def test_without_a_promise_nothing_is_broken_any_more(lab: Lab, how: str) -> None:
    policy = lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(30 * HOUR)
    lab.look.look()

    if how == "off":
        lab.switch(policy, on=False)
    elif how == "unbound":
        lab.bind(policy)
    else:
        with lab.catalog.transaction() as transaction:
            policies.remove(transaction, lab.project, policy.id)
    assert lab.look.look() == RpoSummary()
    lab.clock.advance(30 * HOUR)
    lab.look.look()

    assert lab.told() == ["broken", "mended"]
    assert lab.events()[-1].facts["why"] == "no_promise"
    assert lab.events()[-1].facts["policy_name"] == "p1"


def test_a_policy_that_is_off_promises_nothing(lab: Lab) -> None:
    lab.switch(lab.bind(lab.policy(), WEB), on=False)
    for _ in range(3):
        lab.clock.advance(30 * HOUR)
        assert lab.look.look() == RpoSummary()

    assert lab.told() == []


def test_a_policy_that_is_changed_for_something_else_does_not_begin_anew(lab: Lab) -> None:
    policy = lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(24 * HOUR)
    lab.save(replace(policy, name="renamed", description="other"))
    lab.look.look()
    lab.clock.advance(2 * HOUR)
    lab.look.look()

    [event] = lab.events()
    assert event.facts["policy_name"] == "renamed"


def test_the_weekend_is_no_breach_of_a_policy_of_working_days(lab: Lab) -> None:
    days = "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=2;BYMINUTE=0"
    lab.bind(lab.policy(days), WEB)
    # START is a Thursday: backups until Friday, then none until Monday.
    for _ in range(2):
        lab.clock.advance(24 * HOUR)
        lab.back_up()
    lab.clock.advance(73 * HOUR)
    lab.look.look()
    assert lab.told() == []
    lab.clock.advance(timedelta(minutes=1))
    lab.look.look()
    assert lab.told() == []  # counted from the first look
    lab.clock.advance(73 * HOUR)
    lab.look.look()
    assert lab.told() == ["broken"]


def test_a_policy_of_which_nothing_can_be_said_changes_nothing(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(30 * HOUR)
    lab.look.look()

    def refuses(schedule: Schedule, at: datetime) -> timedelta:
        raise InvalidPolicy("pattern", "unreadable")

    with caplog.at_level(logging.WARNING):
        assert replace(lab.look, gap_of=refuses).look() == RpoSummary()

    assert "what a policy promises is not known" in caplog.text
    assert lab.told() == ["broken"]
    assert lab.look.look().broken == 1


def test_a_rule_that_is_never_due_promises_nothing(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    never = replace(lab.look, gap_of=lambda *_: timedelta.max)

    assert never.look() == RpoSummary()


def test_the_summary_has_numbers_of_all_and_the_worst(lab: Lab) -> None:
    ids = [ServerId(each) for each in ("s1", "s2", "s3", "s4")]
    lab.bind(lab.policy(), *ids)
    lab.look.look()
    lab.back_up(ids[0])
    lab.clock.advance(20 * HOUR)
    lab.back_up(ids[1])
    lab.clock.advance(10 * HOUR)
    lab.back_up(ids[2])

    found = lab.look.look()

    assert (found.promised, found.broken, found.oldest_age_s) == (4, 2, 30 * 3600)
    assert found.worst == ((ids[3], None, True), (ids[0], 30 * 3600, True))


def test_a_promise_is_shown_before_anybody_looked(lab: Lab) -> None:
    policy = lab.bind(lab.policy(), WEB)
    [web] = lab.service.list_all()
    assert (web.policy_name, web.promise_s, web.broken) == ("p1", 25 * 3600, False)
    lab.look.look()
    twice = replace(policy.schedules[0], pattern="RRULE:FREQ=DAILY;BYHOUR=2,14;BYMINUTE=0")
    policy = lab.save(replace(policy, schedules=(twice,)))
    assert [each.promise_s for each in lab.service.list_all()] == [13 * 3600]
    lab.switch(policy, on=False)
    assert [(each.policy_id, each.promise_s) for each in lab.service.list_all()] == [(None, None)]


def test_a_project_sees_how_its_servers_stand(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    with lab.catalog.transaction() as transaction:
        servers.remember_server(transaction, lab.project, ServerId("alone"), "alone")
    lab.look.look()
    lab.back_up()
    lab.clock.advance(26 * HOUR)
    lab.look.look()

    alone, web = lab.service.list_all()

    assert (alone.policy_id, alone.promise_s, alone.age_s, alone.broken) == (
        None,
        None,
        None,
        False,
    )
    assert (web.policy_id, web.policy_name) == (PolicyId("p1"), "p1")
    assert (web.promise_s, web.age_s, web.broken) == (25 * 3600, 26 * 3600, True)
    assert web.broken_at == lab.clock.now
    assert lab.service.of_server(ServerRef(WEB, "web")) == web
    stranger = ServerRef(ServerId("x"), "x")
    assert lab.service.of_server(stranger) == RpoStatus(server_id="x", server_name="x")


def test_many_that_change_at_once_are_written_in_parts_and_all_of_them(lab: Lab) -> None:
    ids = [ServerId(f"s{number:04}") for number in range(1101)]
    lab.bind(lab.policy(), *ids)
    assert lab.look.look().promised == 1101
    lab.clock.advance(26 * HOUR)

    with pytest.raises(Crash):
        replace(lab.look, catalog=DyingCatalog(lab.catalog, at=2)).look()
    with lab.catalog.transaction() as transaction:
        marked = [
            each
            for each in rpo.watched(transaction, until=lab.clock.now)
            if each.watch and each.watch.broken_at
        ]
    assert len(marked) == len(lab.events()) == 500

    assert lab.look.look().broken == 1101
    assert sorted(str(each.server and each.server.id) for each in lab.events()) == ids[:1000]
    with lab.catalog.transaction() as transaction:
        assert len(events.page(transaction, lab.project, limit=2000)) == 1101


def test_a_backup_that_comes_during_a_look_is_seen(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.look.look()
    lab.clock.advance(26 * HOUR)

    class Meanwhile(Catalog):
        """Between the look at all and what is recorded."""

        @contextmanager
        def transaction(self) -> Iterator[Transaction]:
            lab.back_up()
            with super().transaction() as transaction:
                yield transaction

    replace(lab.look, catalog=Meanwhile(lab.catalog._engine, name="")).look()

    assert lab.told() == []


def test_a_backup_of_a_clock_that_was_ahead_hides_nothing(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.clock.advance(timedelta(days=365))
    lab.back_up()
    lab.clock.advance(timedelta(days=-365))
    lab.look.look()
    lab.clock.advance(25 * HOUR)
    lab.look.look()
    assert lab.told() == []
    assert lab.service.list_all()[0].newest_backup_at is None

    lab.clock.advance(HOUR)
    lab.look.look()

    assert lab.told() == ["broken"]


def test_a_look_that_finds_nothing_new_keeps_nobody_waiting(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lab.look.look()
    with lab.catalog.transaction() as transaction:
        [before] = rpo.watched(transaction, until=lab.clock.now)
    lab.clock.advance(HOUR)

    replace(lab.look, catalog=DyingCatalog(lab.catalog, at=1)).look()

    with lab.catalog.transaction() as transaction:
        [after] = rpo.watched(transaction, until=lab.clock.now)
    assert before.watch == after.watch


def test_the_lookout_remembers_what_it_saw(lab: Lab) -> None:
    lab.bind(lab.policy(), WEB)
    lookout = Lookout(lab.look)
    assert lookout.summary.promised == 0

    lookout.look()

    assert lookout.summary.promised == 1
