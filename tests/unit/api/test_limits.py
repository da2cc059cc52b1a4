"""Bounds of requests, and how each room refuses."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from csbs.api.limits import Around, Gate, LimitOptions
from csbs.catalog import collections
from csbs.domain.tenancy import LoginsBusy, TooManyFailures
from csbs.services.failures import FailureLimit
from csbs.services.passwords import Passwords
from csbs.serving import make_server
from csbs.testing.live_api import LiveApi, live_api

MIB = 1024**2


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        yield running


ROOMS = ["/v1/{project}/checkpoint_items", "/v3/auth/tokens", "/native/v1/projects"]


def post(client: httpx.Client, path: str, content: bytes | Iterator[bytes]) -> httpx.Response:
    return client.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_body_over_a_mebibyte_is_413(api: LiveApi, room: str) -> None:
    answer = post(api.client, room.format(project=api.project_id), b" " * (MIB + 1))

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/json"


def test_a_body_that_does_not_tell_its_size_is_cut_off(api: LiveApi) -> None:
    parts = (b" " * 1024 for _ in range(1025))

    assert post(api.client, "/v3/auth/tokens", parts).status_code == 413


def test_a_body_of_a_mebibyte_is_read(api: LiveApi) -> None:
    answer = post(api.client, "/v3/auth/tokens", b" " * MIB)

    assert answer.status_code == 400


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_json_is_refused(api: LiveApi, opening: bytes) -> None:
    answer = post(api.client, "/v3/auth/tokens", opening * 10_000)

    assert answer.status_code == 400
    assert "levels deep" in answer.json()["error"]["message"]


def test_brackets_in_a_text_are_not_deep(admin: httpx.Client) -> None:
    body = {"description": "[" * 100 + '\\"{' * 20}

    answer = admin.post("/native/v1/users/me/keys", json=body)

    assert answer.status_code == 201


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"null", b'"text"', b""])
@pytest.mark.parametrize("path", ["/v3/auth/tokens", "/native/v1/projects"])
def test_a_body_that_is_no_object_is_400(admin: httpx.Client, path: str, content: bytes) -> None:
    answer = post(admin, path, content)

    assert answer.status_code == 400
    assert "Traceback" not in answer.text


def test_a_body_that_breaks_off_begins_nothing() -> None:
    reached: list[str] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        reached.append(scope["path"])

    async def nothing(*_: Any) -> None:
        """Somebody who is told and does not care."""

    messages = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    around = Around(
        refuse=lambda _path, _error: Response(status_code=400),
        finished=nothing,
        new_id=lambda: "x",
        monotonic=lambda: 0.0,
    )
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": []}

    asyncio.run(Gate(application, LimitOptions(), around)(scope, receive, nothing))

    assert reached == []


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\ud800", "\\uDFFF\\ud83d"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v3/auth/tokens", '{"auth": {"identity": {"methods": ["TEXT"]}}}'),
        ("/native/v1/users/me/keys", '{"description": "TEXT"}'),
        ("/native/v1/users/me/keys", '{"TEXT": 1}'),
    ],
)
def test_a_text_that_no_database_takes_is_400(
    admin: httpx.Client, path: str, body: str, text: str
) -> None:
    answer = post(admin, path, body.replace("TEXT", text).encode())

    assert answer.status_code == 400
    assert "cannot be kept" in answer.json()["error"]["message"]


def test_a_pair_of_surrogates_is_one_character(admin: httpx.Client) -> None:
    body = rb'{"description": "\ud83d\ude00 \\u0000"}'

    assert post(admin, "/native/v1/users/me/keys", body).status_code == 201


@pytest.mark.parametrize("path", ["/v3/projects/%00", "/v3/users/a%00b", "/native/v1/users/%00"])
def test_nothing_is_named_with_a_nul(admin: httpx.Client, path: str) -> None:
    assert admin.get(path).status_code == 404
    assert admin.get("/v3/projects?name=%00").status_code == 400


def test_every_room_refuses_in_its_own_way(api: LiveApi) -> None:
    paths = ("/v1/x/nothing", "/v3/nothing", "/native/v1/nothing", "/nothing")
    found = [api.client.get(path) for path in paths]

    assert [answer.status_code for answer in found] == [404] * 4
    assert set(found[0].json()) == {"error_code", "error_msg"}
    assert set(found[1].json()["error"]) == {"code", "title", "message"}
    assert set(found[2].json()["error"]) == {"kind", "object", "message"}
    assert set(found[3].json()["error"]) == {"kind", "object", "message"}


def test_a_method_that_a_path_does_not_take_is_405(api: LiveApi) -> None:
    answer = api.client.put("/v3/auth/catalog")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_every_answer_has_the_id_of_its_request(api: LiveApi) -> None:
    answers = [api.client.get("/v3"), api.client.get("/nothing"), api.client.get("/v3/users")]

    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert ids == {answer.headers["x-openstack-request-id"] for answer in answers}


def test_a_slash_at_the_end_makes_no_difference(api: LiveApi) -> None:
    assert api.client.get("/v3/").json() == api.client.get("/v3").json()


def test_an_empty_body_with_a_content_type_is_fine_on_any_method(admin: httpx.Client) -> None:
    answer = admin.get("/v3/projects", headers={"content-type": "application/json", "accept": ""})

    assert answer.status_code == 200


def test_a_host_that_is_no_name_is_refused(api: LiveApi) -> None:
    answer = api.client.get("/v3", headers={"host": 'x" onload="'})

    assert answer.status_code == 400


def test_the_public_url_wins_over_the_host(tmp_path: Path) -> None:
    with live_api(tmp_path, public_url="https://backup.example/csbs/") as api:
        document = api.client.get("/v3").json()

    assert document["version"]["links"][0]["href"] == "https://backup.example/csbs/v3/"


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    with live_api(tmp_path, api_body_wait_s=0.2) as api:
        host, port = api.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                b"POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"
            )

            assert b" 408 " in connection.recv(64)


def test_more_requests_than_it_takes_are_503_at_once(tmp_path: Path) -> None:
    with live_api(tmp_path, api_requests_max=1) as api:
        host, port = api.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(b"POST /v3 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            statuses = _until(api, 503)

        assert 503 in statuses


def _until(api: LiveApi, status: int) -> list[int]:
    """Asks until it is answered so: the slow request may not have been read yet."""
    found: list[int] = []
    while status not in found and len(found) < 1000:
        found.append(api.client.get("/v3").status_code)
    return found


def test_a_fault_of_ours_is_500_and_tells_no_internals(tmp_path: Path) -> None:
    with live_api(tmp_path) as api, api.as_user() as admin:
        api.driver.list_servers = None  # type: ignore[method-assign, assignment]  # a fault

        answer = admin.get(f"/native/v1/projects/{api.project_id}/servers")

    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "unexpected"
    assert "NoneType" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]


# --- health -----------------------------------------------------------------------------------


def test_health_and_readiness_ask_for_no_login(api: LiveApi) -> None:
    assert api.client.get("/healthz").json() == {"status": "alive"}
    assert api.client.get("/readyz").json() == {"status": "ready"}


def test_it_is_not_ready_any_more_from_the_first_signal_on(api: LiveApi) -> None:
    server = make_server(api.service, api.settings, lambda: None)
    app: Any = server.config.app

    async def readiness() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://csbs") as client:
            return (await client.get("/readyz")).status_code

    before = asyncio.run(readiness())
    server.handle_exit(signal.SIGTERM, None)

    assert (before, asyncio.run(readiness()), server.should_exit) == (200, 503, True)


def test_metrics_tell_how_long_deleted_backups_take_space(
    api: LiveApi, admin: httpx.Client
) -> None:
    def told(name: str) -> float:
        text = api.client.get("/metrics").text
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} ")]
        return float(line.split()[1])

    region = api.region
    (project, *_) = region.projects.list_all()
    assert told("csbs_collection_wait_seconds") == 0
    with region.collections.catalog.transaction() as transaction:
        week_ago = region.clock() - timedelta(days=7, minutes=1)
        collections.want(transaction, project.id, at=week_ago)

    assert told("csbs_collection_wait_seconds") > 7 * 86400
    assert told("csbs_collections_overdue") == 1
    with region.collections.catalog.transaction() as transaction:
        collections.end(transaction, project.id, at=region.clock())
    assert told("csbs_collections_overdue") == 0


def test_metrics_count_by_route_and_never_by_path(api: LiveApi, admin: httpx.Client) -> None:
    admin.get(f"/native/v1/projects/{api.project_id}/tasks")
    api.client.get("/some/path/that/is/none")

    text = api.client.get("/metrics").text

    route = "/native/v1/projects/{project_id}/tasks"
    assert f'csbs_http_requests_total{{method="GET",route="{route}",status="200"}}' in text
    assert api.project_id not in text
    assert "/some/path" not in text


# --- guessing ---------------------------------------------------------------------------------


def _log_in(api: LiveApi, name: str, password: str) -> httpx.Response:
    user = {"name": name, "password": password}
    identity = {"methods": ["password"], "password": {"user": user}}
    return api.client.post("/v3/auth/tokens", json={"auth": {"identity": identity}})


def test_who_guesses_has_to_wait(api: LiveApi) -> None:
    api.region.users.create("gus", "gus-password")

    statuses = [_log_in(api, "gus", f"guess-{n}").status_code for n in range(11)]

    assert statuses == [401] * 10 + [503]
    right = _log_in(api, "gus", "gus-password")
    assert right.status_code == 503
    assert "try again" in right.json()["error"]["message"]
    assert _log_in(api, "admin", "admin-password").status_code == 201


class Time:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_wait_ends() -> None:
    time = Time()
    limit = FailureLimit(monotonic=time, count_max=2, window_s=60)
    for _ in range(2):
        limit.failed("a", "x")
    with pytest.raises(TooManyFailures) as refused:
        limit.check("a", "x")

    time.now_s = 60
    limit.check("a", "x")

    assert refused.value.wait_s == 61


def test_another_address_and_another_name_need_not_wait() -> None:
    limit = FailureLimit(monotonic=lambda: 0.0, count_max=1)
    limit.failed("a", "x")

    limit.check("b", "x")
    limit.check("a", "y")


def test_a_right_password_forgets_the_wrong_ones() -> None:
    limit = FailureLimit(monotonic=lambda: 0.0, count_max=2)
    limit.failed("a", "x")
    limit.succeeded("a", "x")
    limit.failed("a", "x")

    limit.check("a", "x")


def test_the_names_that_are_remembered_are_bounded() -> None:
    limit = FailureLimit(monotonic=lambda: 0.0, count_max=1, names_max=3)
    for number in range(4):
        limit.failed("a", str(number))

    limit.check("a", "0")
    with pytest.raises(TooManyFailures):
        limit.check("a", "1")


def test_passwords_are_checked_by_few_at_once() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow:
        def hash(self, password: str) -> str:
            return password

        def verify(self, hash: str, password: str) -> bool:  # noqa: A002  the name in argon2
            entered.set()
            return leave.wait(30)

    passwords = Passwords(Slow(), checks_max=1, wait_max_s=0.01)
    first = threading.Thread(target=passwords.matches, args=("x", "x"))
    first.start()
    assert entered.wait(30)

    with pytest.raises(LoginsBusy):
        passwords.matches("x", "x")

    leave.set()
    first.join()


def test_json_is_what_the_answers_are(api: LiveApi) -> None:
    for path in ("/", "/v3", "/v3/users", "/healthz", "/native/v1/openapi.json"):
        answer = api.client.get(path)
        assert answer.headers["content-type"].startswith("application/json")
        json.loads(answer.text)
