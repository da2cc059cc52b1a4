"""Collection by itself: after deletions, when nobody is at work, out of the way of who comes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.catalog import collections, events, tasks
from csbs.domain.backup import Backup
from csbs.domain.collection import OVERDUE_AFTER, PAUSE, RETRY_AFTER, CollectionFacts, Step
from csbs.domain.errors import DriverFailed
from csbs.domain.events import EventKind
from csbs.domain.ids import TaskId
from csbs.domain.task import TaskKind, waiting_task
from csbs.repository import CollectProgress
from csbs.repository.errors import RepositoryLocked
from csbs.services.chores import Chores, ChoreService, ChoreState
from csbs.services.collection import CollectionService
from csbs.services.courtesy import GIVE_WAY_S, Courtesy
from tests.unit.workflows.service_lab import ServiceLab

_TIMEOUT_S = 30


class CollectionLab(ServiceLab):
    """Its collections begin by the test's own clock, `now`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.now = self.clock()
        object.__setattr__(self.repositories, "collected", self._collected)
        self.elapsed_s = 0.0
        self.collection = CollectionService(
            catalog=self.catalog,
            project_id=self.project_id,
            repositories=self.repositories,
            monotonic=lambda: self.elapsed_s,
        )

    def _collected(self) -> None:
        with self.catalog.transaction() as transaction:
            collections.end(transaction, self.project_id, at=self.now)

    def look(self, later: timedelta = timedelta()) -> Step:
        self.now += later
        return self.collection.collect_due(self.now).step

    def facts(self) -> CollectionFacts:
        with self.catalog.transaction() as transaction:
            return collections.facts(transaction, self.project_id)

    def pack_count(self) -> int:
        return sum(1 for _ in self.store.list("packs/"))

    def deleted_backup(self) -> Backup:
        """One that is, behind one that was deleted."""
        first = self.back_up()
        self.write(2)
        second = self.back_up()
        self.backups.delete(first.id, self.watcher)
        return second

    def at(self, moment: str, action: Callable[[], None]) -> None:
        """Does something in the middle of the next collection: before it reads this key."""
        inner, done = self.store.get, threading.Event()

        def get(key: str, *, offset: int = 0, size: int | None = None) -> bytes:
            if key.startswith(moment) and self.is_collecting() and not done.is_set():
                done.set()
                action()
            return inner(key, offset=offset, size=size)

        self.store.get = get  # type: ignore[method-assign]  # the store is real but for this

    def is_collecting(self) -> bool:
        return self.repositories.courtesy.is_working


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[CollectionLab]:
    made = CollectionLab(tmp_path)
    made.server.start()
    made.write(1)
    yield made
    made.close()


def test_nothing_is_collected_where_nothing_was_deleted(lab: CollectionLab) -> None:
    lab.back_up()

    assert lab.look() is Step.NOTHING


def test_a_deletion_is_followed_by_a_collection(lab: CollectionLab) -> None:
    lab.deleted_backup()
    before = lab.pack_count()

    assert lab.facts().wanted_since is not None
    assert lab.look(timedelta(minutes=1)) is Step.BEGIN

    assert lab.pack_count() < before
    assert lab.facts() == CollectionFacts(ended_at=lab.now)
    assert lab.look() is Step.NOTHING


def test_a_failed_backup_too(lab: CollectionLab) -> None:
    lab.faults.on("begin_backup", DriverFailed("web", "vda", "the backup", "no space"))
    with pytest.raises(DriverFailed):
        lab.back_up()

    assert lab.look(timedelta(minutes=1)) is Step.BEGIN


def test_the_next_one_waits_a_while(lab: CollectionLab) -> None:
    lab.deleted_backup()
    lab.look(timedelta(minutes=1))
    lab.deleted_backup()

    assert lab.look(PAUSE / 2) is Step.WAIT
    assert lab.look(PAUSE / 2) is Step.BEGIN


def test_it_does_not_begin_while_a_task_waits(lab: CollectionLab) -> None:
    backup = lab.deleted_backup()
    task = waiting_task(TaskId("t"), TaskKind.RESTORE, backup, at=lab.now, request={"a": 1})
    with lab.catalog.transaction() as transaction:
        tasks.add(transaction, task)

    assert lab.look(timedelta(minutes=1)) is Step.WAIT


def test_it_does_not_begin_while_somebody_reads(lab: CollectionLab) -> None:
    lab.deleted_backup()
    before = lab.pack_count()
    with lab.repositories.shared("a verification"):
        lab.look(timedelta(minutes=1))

    assert lab.pack_count() == before
    assert "verification" in lab.facts().why_not
    assert lab.look(RETRY_AFTER / 2) is Step.WAIT
    assert lab.look(RETRY_AFTER / 2) is Step.BEGIN
    assert lab.pack_count() < before


def test_a_backup_in_the_middle_stops_it_and_it_goes_on_later(lab: CollectionLab) -> None:
    """On a real store, with a real backup that another thread makes."""
    second = lab.deleted_backup()
    before = lab.pack_count()
    made: list[Backup] = []

    def ask() -> None:
        backup = threading.Thread(target=lambda: made.append(lab.back_up()))
        backup.start()
        threads.append(backup)
        assert lab.repositories.courtesy.asked.wait(_TIMEOUT_S)

    threads: list[threading.Thread] = []
    lab.at("packs/", ask)
    lab.look(timedelta(minutes=1))
    threads[0].join(_TIMEOUT_S)

    assert len(made) == 1
    assert lab.pack_count() >= before
    assert "cancelled" in lab.facts().why_not
    assert lab.facts().wanted_since is not None

    assert lab.look(RETRY_AFTER) is Step.BEGIN
    assert lab.facts() == CollectionFacts(ended_at=lab.now)
    lab.restore(second)
    lab.restore(made[0])
    assert not lab.verify().damaged


def test_one_that_somebody_asked_for_gives_way_to_nobody(lab: CollectionLab) -> None:
    lab.deleted_backup()
    refused: list[bool] = []

    def ask(_: CollectProgress) -> None:
        with pytest.raises(RepositoryLocked), lab.repositories.shared("a backup"):
            pass
        refused.append(True)

    lab.repositories.collect(ask)

    assert refused


def test_a_chore_that_collects_is_cancelled_and_the_next_frees_the_rest(
    lab: CollectionLab,
) -> None:
    lab.deleted_backup()
    before = lab.pack_count()
    reached, asked = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert asked.wait(_TIMEOUT_S)

    chores = ChoreService(
        project_id=lab.project_id,
        chores=Chores(),
        repositories=replace(lab.repositories, raise_epoch=wait),
        verification=lab.verification,
        clock=lambda: lab.now,
        new_id=lambda: "c",
    )
    chore = chores.collect()
    assert reached.wait(_TIMEOUT_S)
    chores.cancel(chore.id)
    asked.set()

    assert chores.chores.stop()
    assert chore.state is ChoreState.CANCELLED
    assert lab.pack_count() == before
    assert lab.repositories.collect(lambda _: None).packs_deleted > 0


def test_a_task_that_another_process_enters_stops_it_too(lab: CollectionLab) -> None:
    backup = lab.deleted_backup()
    before = lab.pack_count()

    def enter() -> None:
        lab.elapsed_s += 5
        task = waiting_task(TaskId("t"), TaskKind.RESTORE, backup, at=lab.now, request={"a": 1})
        with lab.catalog.transaction() as transaction:
            tasks.add(transaction, task)

    lab.at("packs/", enter)
    lab.look(timedelta(minutes=1))

    assert lab.pack_count() == before
    assert "cancelled" in lab.facts().why_not


def test_the_end_of_the_service_stops_it(lab: CollectionLab) -> None:
    lab.deleted_backup()
    before = lab.pack_count()

    lab.collection.collect_due(lab.now + timedelta(minutes=1), lambda: True)

    assert lab.pack_count() == before


def test_a_crash_in_the_middle_is_followed_by_another(lab: CollectionLab) -> None:
    lab.deleted_backup()

    def crash() -> None:
        raise KeyboardInterrupt

    lab.at("packs/", crash)
    with pytest.raises(KeyboardInterrupt):
        lab.look(timedelta(minutes=1))

    assert lab.facts().why_not == "csbs ended in the middle of it"
    assert lab.look(RETRY_AFTER) is Step.BEGIN
    assert lab.facts() == CollectionFacts(ended_at=lab.now)


def test_what_waits_for_seven_days_is_an_alarm_once_a_day(
    lab: CollectionLab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.deleted_backup()

    def alarms(later: timedelta) -> int:
        caplog.clear()
        with lab.repositories.shared("a long verification"):
            lab.look(later)
        found = [each for each in caplog.records if each.levelno == logging.ERROR]
        return len(found)

    assert alarms(OVERDUE_AFTER - timedelta(hours=1)) == 0
    assert alarms(timedelta(hours=2)) == 1
    assert alarms(timedelta(hours=23)) == 0
    assert alarms(timedelta(hours=2)) == 1
    with lab.catalog.transaction() as transaction:
        (since,) = collections.waiting_since(transaction)
        (event,) = events.page(transaction, lab.project_id, limit=9)
    assert lab.now - since > OVERDUE_AFTER
    assert (event.kind, event.facts["since"]) == (EventKind.COLLECTION_LATE, since.isoformat())
    lab.look(RETRY_AFTER)
    assert lab.facts().alarmed_at is None


def test_nobody_waits_for_one_that_does_not_stop() -> None:
    courtesy = Courtesy()

    with courtesy.working():
        assert not courtesy.ask(lambda: False, wait_s=0.2)
        assert not courtesy.ask(lambda: True)
        assert GIVE_WAY_S == 60  # who asks waits no longer, if nothing else is said
    assert not courtesy.ask(lambda: False)
