"""Events on their way: once recorded they arrive, in order, whatever dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from csbs.catalog import Catalog, events, notifications
from csbs.domain.events import Event
from csbs.domain.ids import ProjectId
from csbs.domain.notification import (
    DELAY_FIRST,
    DELAY_MAX,
    GIVEN_UP_AFTER,
    Backlog,
    NewTarget,
    SendFailure,
    Target,
)
from csbs.notify import HttpOptions, HttpSender
from csbs.notify.base import Mail
from csbs.repository import KeyFiles
from csbs.repository.secret_box import SecretBox
from csbs.services.notifications import NotificationService
from csbs.services.notifier import Deliveries, Notifier
from csbs.services.sending import Sending
from csbs.testing.events import failure
from csbs.testing.fake_clock import FakeClock
from csbs.testing.receiver import Answer, receiver_running
from csbs.testing.values import START

REFUSED, DOWN = SendFailure("refused", final=True), SendFailure("down")


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a kill -9."""


@dataclass
class Wire:
    """Takes what is sent, or fails as it is told."""

    posted: list[str] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    answers: list[SendFailure | BaseException | None] = field(default_factory=list)
    #: Called at each sending.
    meanwhile: Callable[[], None] = lambda: None

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendFailure | None:
        self.posted.append(headers["webhook-id"])
        return self._answer()

    def why_refused(self, url: str) -> str:
        return ""

    def send(self, mail: Mail) -> SendFailure | None:
        self.mails.append(mail)
        return self._answer()

    def missing_setting(self) -> str:
        return ""

    def _answer(self) -> SendFailure | None:
        self.meanwhile()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Lab:
    """A catalog, and what sends."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.monotonic_s = 0.0
        self.catalog = Catalog.open(folder / "catalog.sqlite")
        home = self.catalog.home(clock=self.clock, new_id=lambda: str(uuid4()))
        self.project: ProjectId = home.project_id
        self.wire = Wire()
        secrets = SecretBox(
            KeyFiles(folder / "key", folder=folder, random_bytes=bytes), random_bytes=bytes
        )
        self.sending = Sending(
            catalog=self.catalog,
            secrets=secrets,
            webhooks=self.wire,
            mailer=self.wire,
            project_name=lambda _: "local",
            clock=self.clock,
        )
        self.service = NotificationService(
            catalog=self.catalog,
            project_id=self.project,
            sending=self.sending,
            clock=self.clock,
            new_id=lambda: str(uuid4()),
            random_bytes=bytes,
        )
        self.deliveries = self.next_life()

    def next_life(self) -> Deliveries:
        """What a service that is started now has."""
        return Deliveries(
            catalog=self.catalog,
            sending=self.sending,
            clock=self.clock,
            monotonic=lambda: self.monotonic_s,
        )

    def webhook(self, name: str = "pager") -> Target:
        return self.service.create(NewTarget(name=name, url="https://hooks.example/"))[0]

    def mail(self) -> Target:
        return self.service.create(NewTarget(name="ops", recipients=["a@b.example"]))[0]

    def happen(self, *numbers: int) -> list[Event]:
        """These tasks fail now."""
        found = [failure(self.project, n, after=self.clock.now - START) for n in numbers]
        with self.catalog.transaction() as transaction:
            events.add(transaction, found)
        return found

    def look(self) -> int:
        """Serves all whose turn it is; returns how many there were."""
        found = self.deliveries.due(4)
        for target in found:
            self.deliveries.serve(target)
        return len(found)

    def backlog(self, name: str = "pager") -> Backlog:
        return self.service.find(name)[1]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="csbs-test-", dir="/dev/shm") as folder:
        made = Lab(Path(folder))
        yield made
        made.catalog.close()


def ids(found: Sequence[Event]) -> list[str]:
    return [each.id for each in found]


def test_what_happened_is_sent_once_and_in_order(lab: Lab) -> None:
    lab.webhook()
    found = lab.happen(1, 2, 3)

    assert lab.look() == 1
    assert lab.look() == 0
    assert lab.wire.posted == ids(found)
    assert lab.backlog() == Backlog(delivered=3)


def test_what_failed_is_sent_again_after_growing_delays_and_order_is_kept(lab: Lab) -> None:
    lab.webhook()
    found = lab.happen(1, 2)
    lab.wire.answers = [DOWN, DOWN, DOWN]

    for count in range(3):
        assert lab.look() == 1, count
        assert lab.look() == 0, "it is left alone"
        lab.clock.advance(DELAY_FIRST * 2**count - timedelta(seconds=1))
        assert lab.look() == 0
        lab.clock.advance(timedelta(seconds=1))
    assert lab.service.find("pager")[0].failures == 3
    lab.look()

    first, second = ids(found)
    assert lab.wire.posted == [first] * 4 + [second]
    assert lab.service.find("pager")[0].failures == 0


def test_a_dead_receiver_is_asked_less_than_once_an_hour_and_given_up_after_a_day(
    lab: Lab,
) -> None:
    lab.webhook()
    lab.happen(1, 2, 3)
    lab.wire.answers = [DOWN] * 1000

    while lab.backlog().waiting:
        lab.clock.advance(timedelta(minutes=10))
        lab.look()

    assert GIVEN_UP_AFTER <= lab.clock.now - START <= GIVEN_UP_AFTER + 2 * DELAY_MAX
    assert lab.backlog() == Backlog(given_up=3)
    assert len(lab.wire.posted) < 35
    newest = lab.happen(4)
    lab.wire.answers = []
    lab.clock.advance(DELAY_MAX)
    lab.look()
    assert lab.wire.posted[-1:] == ids(newest)


def test_an_event_that_is_refused_for_good_does_not_hold_up_those_behind(lab: Lab) -> None:
    lab.webhook()
    found = lab.happen(1, 2)
    lab.wire.answers = [REFUSED]

    lab.look()

    assert lab.wire.posted == ids(found)
    assert lab.backlog() == Backlog(given_up=1, delivered=1)


@pytest.mark.parametrize("final", [False, True], ids=["for now", "for good"])
def test_what_a_receiver_says_is_kept_whatever_it_is(lab: Lab, *, final: bool) -> None:
    """Else its failures would not count, and it be asked again and again, for ever."""
    lab.webhook()
    lab.happen(1)
    lab.wire.answers = [SendFailure("\0\ud800 no", final=final)]
    lab.look()

    target, backlog = lab.service.find("pager")
    assert backlog == (Backlog(given_up=1) if final else Backlog(waiting=1))
    assert final or (target.failures, target.last_error) == (1, "\ufffd\ufffd no")


def test_one_target_that_fails_does_not_delay_another(lab: Lab) -> None:
    lab.webhook("one")
    lab.webhook("other")
    lab.happen(1)
    lab.wire.answers = [DOWN]

    lab.look()

    assert sorted(lab.backlog(name).waiting for name in ("one", "other")) == [0, 1]


def test_mail_tells_all_that_waits_at_once(lab: Lab) -> None:
    lab.mail()
    lab.happen(1, 2, 3)

    lab.look()

    [mail] = lab.wire.mails
    assert mail.recipients == ("a@b.example",)
    assert mail.text.count("failed") == 3
    assert lab.backlog("ops") == Backlog(delivered=3)


def test_mail_that_failed_is_sent_with_what_came_since(lab: Lab) -> None:
    lab.mail()
    lab.happen(1)
    lab.wire.answers = [DOWN]
    lab.look()
    lab.happen(2)
    lab.clock.advance(DELAY_FIRST)

    lab.look()

    assert [mail.text.count("failed") for mail in lab.wire.mails] == [1, 2]


def test_what_was_sent_when_the_service_was_killed_is_sent_again_with_the_same_id(
    lab: Lab,
) -> None:
    lab.webhook()
    found = lab.happen(1, 2)
    lab.wire.answers = [None, Crash()]
    with pytest.raises(Crash):
        lab.look()

    lab.deliveries = lab.next_life()
    assert lab.look() == 0, "somebody else may be at it still"
    lab.deliveries.begin()
    lab.look()

    first, second = ids(found)
    assert lab.wire.posted == [first, second, second]
    assert lab.backlog() == Backlog(delivered=2)


def test_a_target_whose_sender_died_is_served_again_after_a_while(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1)
    lab.wire.answers = [Crash()]
    with pytest.raises(Crash):
        lab.look()
    lab.clock.advance(timedelta(minutes=2))

    assert lab.look() == 1
    assert lab.backlog() == Backlog(delivered=1)


def test_a_restart_does_not_hurry_a_receiver_that_fails(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1)
    lab.wire.answers = [DOWN]
    lab.look()

    lab.deliveries.begin()
    assert lab.look() == 0


def test_two_services_do_not_serve_one_target_at_once(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1)

    assert len(lab.deliveries.due(4)) == 1
    assert lab.next_life().due(4) == []


def test_a_clock_that_was_ahead_does_not_silence_a_target(lab: Lab) -> None:
    lab.webhook()
    lab.clock.advance(timedelta(days=400))
    lab.happen(1)
    lab.wire.answers = [DOWN]
    lab.look()
    lab.clock.advance(timedelta(days=-400))

    assert lab.look() == 1
    assert lab.backlog() == Backlog(delivered=1)


def test_no_transaction_is_open_while_something_is_sent(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1)

    def another() -> None:
        with lab.catalog.transaction() as transaction:
            assert notifications.of_project(transaction, lab.project)

    lab.wire.meanwhile = another
    lab.look()

    assert len(lab.wire.posted) == 1


def test_a_target_that_is_deleted_while_it_is_served_is_no_error(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1, 2)

    def delete() -> None:
        lab.service.delete("pager")

    lab.wire.meanwhile = delete

    lab.look()

    assert len(lab.wire.posted) == 1
    assert lab.service.list_all() == []


def test_a_turn_ends_so_that_others_have_theirs(lab: Lab) -> None:
    lab.webhook("a")
    lab.webhook("b")
    found = lab.happen(1, 2, 3)

    def slowly() -> None:
        lab.monotonic_s += 40

    lab.wire.meanwhile = slowly
    for _ in range(6):
        lab.clock.advance(timedelta(seconds=40))
        [target] = lab.deliveries.due(1)
        lab.deliveries.serve(target)

    first, second, third = ids(found)
    assert lab.wire.posted == [first, first, second, second, third, third]


def test_a_secret_that_cannot_be_opened_is_told(lab: Lab) -> None:
    lab.webhook()
    lab.happen(1)
    other = SecretBox(
        KeyFiles(
            lab.sending.secrets.files.region_file.with_name("other"),
            folder=lab.sending.secrets.files.region_file.parent,
            random_bytes=lambda size: b"\1" * size,
        ),
        random_bytes=bytes,
    )
    other.seal("x", "makes the file")
    lab.deliveries = replace(lab.deliveries, sending=replace(lab.sending, secrets=other))

    lab.look()

    assert "cannot be opened" in lab.service.find("pager")[0].last_error
    assert lab.wire.posted == []


def test_threads_send_what_is_recorded_and_end_when_they_are_told(lab: Lab) -> None:
    with receiver_running() as receiver:
        receiver.answers = [Answer(500), Answer()]
        sending = replace(
            lab.sending, webhooks=HttpSender(HttpOptions(local_allowed=True, time_max_s=5))
        )
        service = replace(lab.service, sending=sending)
        for name in ("first", "second"):
            service.create(NewTarget(name=name, url=receiver.url))
        notifier = Notifier(replace(lab.deliveries, sending=sending), look_s=0.01)
        notifier.start()
        found = lab.happen(1, 2)

        receiver.wait_for(3)
        notifier.stop()

        got = [body["id"] for body in receiver.bodies()]
        assert got.count(found[0].id) == 2
        assert got.count(found[1].id) == 1
        waiting = [lab.backlog(name).waiting for name in ("first", "second")]
        assert sorted(waiting) == [0, 2]
