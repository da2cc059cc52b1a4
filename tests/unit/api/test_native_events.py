"""Events, notifications and RPO over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from csbs.background import lookout_of
from csbs.catalog import events
from csbs.domain.events import Event, EventKind
from csbs.domain.policy import BoundServer, NewPolicy, NewSchedule
from csbs.testing.events import failure
from csbs.testing.live_api import LiveApi, live_api
from csbs.testing.receiver import Answer, Receiver, receiver_running
from tests.unit.api.people import add_people, of_project

MIB = 1024**2
NUMBERS = iter(range(1, 1000))
WEBHOOK: dict[str, Any] = {"channel": "webhook", "url": "https://hooks.example/"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    folder = tmp_path_factory.mktemp("api")
    with live_api(folder, webhook_local_targets=True, metrics_servers_max=5) as running:
        running.driver.add_server("web", {"vda": 4 * MIB})
        add_people(running)
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiver_running() as running:
        yield running


def happen(api: LiveApi, count: int) -> list[Event]:
    """So many tasks fail."""
    project = api.region.projects.find("local").id
    found = [failure(project, 10_000 + next(NUMBERS)) for _ in range(count)]
    app = api.region.project_app(project)
    with app.notifications.catalog.transaction() as transaction:
        events.add(transaction, found)
    return found


def create(api: LiveApi, client: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"name": f"n{next(NUMBERS)}", "channel": "webhook"} | fields
    answer = client.post(of_project(api, "notifications"), json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_webhook_is_made_tried_used_and_deleted(
    api: LiveApi, member: httpx.Client, receiver: Receiver
) -> None:
    made = create(api, member, url=receiver.url, kinds=["task_failed"])
    where = of_project(api, f"notifications/{made['name']}")
    assert made["channel"] == "webhook"

    tried = member.post(where + "/test")
    assert tried.json() == {"received": True, "why": ""}
    [event] = happen(api, 1)
    receiver.wait_for(2)

    test, sent = receiver.received
    for request in (test, sent):
        headers = {name: value for name, value in request.headers.items() if "webhook" in name}
        assert Webhook(made["secret"]).verify(request.body, headers)
    assert json.loads(test.body)["kind"] == "test"
    assert json.loads(sent.body)["id"] == event.id
    shown = member.get(where).json()
    assert "secret" not in shown
    assert made["secret"] not in member.get(of_project(api, "notifications")).text
    assert member.delete(where).status_code == 204
    assert member.get(where).status_code == 404


def test_a_test_that_is_not_received_says_why(
    api: LiveApi, member: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers = [Answer(503)]
    made = create(api, member, url=receiver.url, kinds=["collection_late"])

    tried = member.post(of_project(api, f"notifications/{made['id']}/test"))

    assert tried.status_code == 200
    assert tried.json() == {"received": False, "why": "the receiver answered 503"}
    member.delete(of_project(api, f"notifications/{made['id']}"))


def test_events_are_read_by_number_and_kind(api: LiveApi, reader: httpx.Client) -> None:
    found = happen(api, 3)

    newest = reader.get(of_project(api, "events"), params={"limit": 2}).json()["events"]
    assert [each["id"] for each in newest] == [found[1].id, found[2].id]
    after = {"after": newest[0]["number"]}
    assert reader.get(of_project(api, "events"), params=after).json()["events"] == newest[1:]
    one = newest[1]
    assert one["kind"] == "task_failed"
    assert one["server"] == {"id": "s", "name": "web"}
    assert one["message"] == "The backup of server web failed: the store is full"
    assert one["facts"]["error_code"] == "StoreFull"
    other = reader.get(of_project(api, "events"), params={"kind": ["rpo_broken", "rpo_mended"]})
    assert other.json() == {"events": []}
    assert reader.get(of_project(api, "events"), params={"kind": "nonsense"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (WEBHOOK | {"url": "http://hooks.example/"}, "invalid"),
        (WEBHOOK | {"recipients": ["a@b"]}, "invalid"),
        (WEBHOOK | {"channel": "mail"}, "invalid"),
        (WEBHOOK | {"channel": "pigeon"}, "invalid"),
        ({"channel": "webhook"}, "invalid"),
        ({}, "invalid"),
        (WEBHOOK | {"kinds": ["test"]}, "invalid"),
        (WEBHOOK | {"kinds": ["nonsense"]}, "invalid"),
        (WEBHOOK | {"name": "a b"}, "invalid"),
        (WEBHOOK | {"secret": "mine"}, "invalid"),
        (WEBHOOK | {"url": "https://0.0.0.0/"}, "refused"),
        ({"channel": "mail", "recipients": ["a@b.example"]}, "refused"),
        ({"channel": "mail", "recipients": []}, "invalid"),
        ({"channel": "mail", "recipients": ["a@b\r\nBcc: c@d"]}, "invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(
    api: LiveApi, member: httpx.Client, body: dict[str, Any], kind: str
) -> None:
    answer = member.post(of_project(api, "notifications"), json={"name": "bad"} | body)

    assert answer.json()["error"]["kind"] == kind


def test_a_project_has_so_many_notifications(api: LiveApi, member: httpx.Client) -> None:
    left = 10 - len(member.get(of_project(api, "notifications")).json()["notifications"])
    made = [create(api, member, url="https://hooks.example/") for _ in range(left)]

    body = {"name": "one-more", "channel": "webhook", "url": "https://hooks.example/"}
    answer = member.post(of_project(api, "notifications"), json=body)

    assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "refused")
    for each in made:
        member.delete(of_project(api, f"notifications/{each['id']}"))


def test_a_reader_looks_and_changes_nothing(
    api: LiveApi, member: httpx.Client, reader: httpx.Client
) -> None:
    made = create(api, member, url="https://hooks.example/", kinds=["collection_late"])
    where = of_project(api, f"notifications/{made['id']}")

    assert reader.get(where).status_code == 200
    assert reader.delete(where).status_code == 403
    assert reader.post(where + "/test").status_code == 403
    body = {"name": "x", "channel": "webhook", "url": "https://hooks.example/"}
    assert reader.post(of_project(api, "notifications"), json=body).status_code == 403
    member.delete(where)


def test_how_new_backups_are_is_shown(api: LiveApi, member: httpx.Client) -> None:
    made = member.post(of_project(api, "backups"), json={"server": "web"})
    assert made.status_code == 202
    api.region.project_app(api.region.projects.find("local").id).tasks.list_all()

    found = member.get(of_project(api, "rpo")).json()["servers"]

    [web] = [each for each in found if each["server"]["name"] == "web"]
    assert web["policy"] is None
    assert web["broken"] is False
    assert set(web) == {
        "server",
        "policy",
        "promise_s",
        "newest_backup_at",
        "age_s",
        "broken",
        "broken_at",
        "last_restore_s",
        "last_restore_at",
    }
    assert member.get(of_project(api, "servers/web")).json()["rpo"]["server"] == web["server"]


def test_a_promise_is_shown_once_it_was_looked_at(api: LiveApi, member: httpx.Client) -> None:
    app = api.region.project_app(api.region.projects.find("local").id)
    server = app.servers.find("web")
    daily = NewSchedule(pattern="RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=2;BYMINUTE=0")
    bound = BoundServer(id=server.id, kind="server", name="web")
    policies = app.protection.policies
    policy = policies.create(NewPolicy(name="workdays", servers=[bound], schedules=[daily]))

    lookout_of(api.settings, app.rpo.catalog).look()

    shown = member.get(of_project(api, "servers/web")).json()["rpo"]
    assert shown["policy"] == {"id": policy.id, "name": "workdays"}
    assert (shown["promise_s"], shown["broken"]) == (73 * 3600, False)
    policies.delete(policy.id)
    assert member.get(of_project(api, "servers/web")).json()["rpo"]["policy"] is None


def test_metrics_have_numbers_of_all_servers(api: LiveApi) -> None:
    text = api.client.get("/metrics").text

    assert "csbs_rpo_servers 0.0" in text
    assert "csbs_rpo_broken 0.0" in text
    assert "csbs_rpo_oldest_backup_age_seconds 0.0" in text


def test_every_kind_is_in_the_document(api: LiveApi) -> None:
    document = api.client.get("/native/v1/openapi.json").json()

    assert document["components"]["schemas"]["EventKind"]["enum"] == list(EventKind)
