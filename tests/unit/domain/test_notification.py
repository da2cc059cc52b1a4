"""Targets, delays, and what a webhook is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from csbs.domain.event_text import mail_of, sentence
from csbs.domain.events import RECORDED_KINDS, Event, EventKind
from csbs.domain.ids import ProjectId, ServerId
from csbs.domain.notification import (
    DELAY_MAX,
    GIVEN_UP_AFTER,
    Channel,
    InvalidNotification,
    Language,
    NewTarget,
    Target,
    delay_after,
    is_expired,
    new_target,
)
from csbs.domain.server import ServerRef
from csbs.domain.web_address import InvalidWebhookUrl
from csbs.domain.webhook import body_of, is_final, new_secret, signed_headers
from csbs.testing.events import SAMPLES
from csbs.testing.values import START

PROJECT = ProjectId("p")
URL = "https://hooks.example/csbs"


def made(wanted: NewTarget) -> Target:
    return new_target(wanted, target_id="t", project_id=PROJECT, at=START)


def test_a_webhook_has_a_url_and_mail_has_recipients() -> None:
    webhook = made(NewTarget(name="pager", url=URL, kinds=[EventKind.RPO_BROKEN]))
    mail = made(NewTarget(name="ops", recipients=["a@b.example", "a@b.example", "c@d"]))

    assert (webhook.channel, webhook.url) == (Channel.WEBHOOK, URL)
    assert (mail.channel, mail.recipients) == (Channel.MAIL, ("a@b.example", "c@d"))


def test_no_kinds_means_all() -> None:
    everything = made(NewTarget(name="all", url=URL))
    some = made(NewTarget(name="some", url=URL, kinds=[EventKind.RPO_BROKEN]))

    assert all(everything.wants(kind) for kind in RECORDED_KINDS)
    assert [kind for kind in RECORDED_KINDS if some.wants(kind)] == [EventKind.RPO_BROKEN]


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (NewTarget(name="", url=URL), "name"),
        (NewTarget(name="a b", url=URL), "name"),
        (NewTarget(name="x" * 65, url=URL), "name"),
        (NewTarget(name="x"), "target"),
        (NewTarget(name="x", url=URL, recipients=["a@b"]), "target"),
        (NewTarget(name="x", url=URL, kinds=[EventKind.TEST]), "kinds"),
        (NewTarget(name="x", recipients=["a@b\nBcc: c@d"]), "recipients"),
        (NewTarget(name="x", recipients=["nobody"]), "recipients"),
        (NewTarget(name="x", recipients=["a@" + "b" * 300]), "recipients"),
        (NewTarget(name="x", recipients=[f"a{n}@b" for n in range(21)]), "recipients"),
    ],
)
def test_what_makes_no_sense_is_refused(wanted: NewTarget, part: str) -> None:
    with pytest.raises(InvalidNotification, match=part):
        made(wanted)


def test_a_url_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(InvalidWebhookUrl):
        made(NewTarget(name="x", url="http://hooks.example/"))


def test_delays_grow_up_to_an_hour_and_are_never_without_end() -> None:
    seconds = [delay_after(count).total_seconds() for count in range(1, 10)]

    assert seconds == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert delay_after(10**9) == DELAY_MAX


def test_an_event_is_tried_for_a_day() -> None:
    event = SAMPLES[EventKind.TASK_FAILED]

    assert not is_expired(event, event.at + GIVEN_UP_AFTER - timedelta(seconds=1))
    assert is_expired(event, event.at + GIVEN_UP_AFTER)


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_a_refusal_of_this_event_is_final(status: int) -> None:
    assert is_final(status)


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 408, 410, 429, 500, 502, 503])
def test_what_an_operator_mends_is_not(status: int) -> None:
    assert not is_final(status)


def test_a_receiver_verifies_the_signature_with_the_library_of_the_standard() -> None:
    event = SAMPLES[EventKind.RPO_BROKEN]
    secret, body = new_secret(bytes(range(32))), body_of(event)
    # The library compares the time with that of this machine.
    from datetime import UTC, datetime  # noqa: PLC0415  the test's own clock is another

    headers = signed_headers(event.id, body, secret, datetime.now(UTC))

    assert Webhook(secret).verify(body, headers) == json.loads(body)


def test_the_signature_is_known_by_its_bytes() -> None:
    headers = signed_headers("e1", b"{}", new_secret(bytes(32)), START)

    assert headers == {
        "webhook-id": "e1",
        "webhook-timestamp": "1767225600",
        "webhook-signature": "v1,jfdHcvWAOqs4xOa618OAz7l1yRGpIiwYZ0QdGbl6Hv4=",
    }


def test_the_body_is_our_document() -> None:
    document = json.loads(body_of(SAMPLES[EventKind.TASK_FAILED]))

    assert document == {
        "id": SAMPLES[EventKind.TASK_FAILED].id,
        "kind": "task_failed",
        "at": "2026-01-01T00:00:00+00:00",
        "project_id": "p",
        "server": {"id": "s", "name": "web"},
        "message": "The backup of server web failed: the store is full",
        "facts": {
            "task_id": "t1",
            "task_kind": "backup",
            "backup_id": "b1",
            "error_kind": "unavailable",
            "error_code": "StoreFull",
            "message": "the store is full",
        },
    }


def test_a_broken_promise_says_when_the_newest_backup_was_made() -> None:
    broken = SAMPLES[EventKind.RPO_BROKEN]
    told = f"{START:%Y-%m-%d %H:%M} UTC"
    assert f"web is of {told}: policy nightly" in sentence(broken, Language.ENGLISH)
    assert told in sentence(broken, Language.CHINESE)
    never = replace(broken, facts={**broken.facts, "newest_backup_at": None})
    assert sentence(never, Language.ENGLISH).startswith("Server web has no backup: policy nightly")


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("language", list(Language))
def test_every_kind_has_a_sentence_in_every_language(kind: EventKind, language: Language) -> None:
    told = sentence(SAMPLES[kind], language)

    assert told
    assert "\n" not in told
    assert any(ord(letter) > 0x4E00 for letter in told) is (language is Language.CHINESE)
    if SAMPLES[kind].server is not None:
        assert "web" in told


def test_a_name_with_line_ends_stays_in_its_line() -> None:
    event = Event(
        id="e",
        kind=EventKind.TASK_FAILED,
        project_id=PROJECT,
        at=START,
        server=ServerRef(ServerId("s"), "we\r\nBcc: b@c"),
        facts=SAMPLES[EventKind.TASK_FAILED].facts,
    )

    subject, _ = mail_of([event], "local", Language.ENGLISH)

    assert "\n" not in subject
    assert "\r" not in subject


def test_many_events_are_one_mail_that_says_how_many_it_leaves_out() -> None:
    event = SAMPLES[EventKind.TASK_FAILED]

    subject, text = mail_of([event] * 130, "local", Language.ENGLISH)

    assert subject == "[csbs] The backup of server web failed: the store is full (and 129 more)"
    assert text.count("failed") == 100
    assert "30 more are not listed." in text
    assert "Project local" in text
    assert "另有 129 条" in mail_of([event] * 130, "local", Language.CHINESE)[0]
