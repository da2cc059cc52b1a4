"""Calls to a service: what is tried again, and what each failure is called."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from csbs.client.connection import Address, Connection
from csbs.client.errors import (
    AnswerUnknown,
    LoginEnded,
    NotOurService,
    PlainHttpRefused,
    ServiceTooOld,
    ServiceUnreachable,
    ToldConflict,
    ToldNotFound,
    ToldUnexpected,
    UrlInvalid,
)
from csbs.documents.base import Reference
from csbs.documents.identity import NewProject
from csbs.domain.errors import CsbsError

URL = "http://127.0.0.1:8774"
FOUND = {"id": "1", "name": "one", "of a newer service": True}


class Proof:
    """A token that is good for so many calls."""

    def __init__(self, renewals: int = 0) -> None:
        self.renewals = renewals
        self.sent = "first"

    def sign(self, request: httpx.Request) -> None:
        request.headers["X-Auth-Token"] = self.sent

    def renew(self) -> bool:
        self.sent = "second"
        self.renewals -= 1
        return self.renewals >= 0

    def lost(self, url: str, refused: CsbsError) -> CsbsError:
        return LoginEnded(url) if "expired" in str(refused) else refused


class Script:
    """Answers in turn: an answer, or an error on the way."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connection(self, proof: Proof | None = None) -> Connection:
        http = httpx.Client(base_url=URL, transport=httpx.MockTransport(self))
        return Connection(
            address=Address(url=URL),
            http=http,
            credentials=proof or Proof(),
            sleep=self.slept.append,
        )


def refused(status: int, kind: str, about: str = "web", message: str = "no") -> httpx.Response:
    body = {"error": {"kind": kind, "object": about, "message": message}}
    return httpx.Response(status, json=body)


def read(connection: Connection) -> Reference:
    return connection.get(Reference, "servers", "a/b c")


def change(connection: Connection) -> Reference:
    return connection.ask("POST", Reference, "projects", body=NewProject(name="local_x"))


def test_a_read_is_tried_again_and_a_change_is_not() -> None:
    lost = httpx.ConnectError("connection refused")
    reading = Script(lost, httpx.ReadTimeout("late"), httpx.Response(200, json=FOUND))
    changing = Script(httpx.ReadError("reset"))

    assert read(reading.connection()).name == "one"
    with pytest.raises(ServiceUnreachable, match="cannot be reached: reset"):
        change(changing.connection())

    assert len(reading.slept) == 2
    assert reading.requests[0].url.raw_path == b"/native/v1/servers/a%2Fb%20c"
    assert len(changing.requests) == 1


def test_a_read_is_tried_three_times_at_most() -> None:
    script = Script(*[httpx.ConnectTimeout("late")] * 5)

    with pytest.raises(ServiceUnreachable, match="does not answer in time"):
        read(script.connection())

    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refused(404, "not_found"), ToldNotFound, "^no$"),
        (refused(409, "busy"), ToldConflict, "^no$"),
        (refused(500, "of a newer service"), ToldUnexpected, "^no$"),
        (refused(404, "not_found", "/native/v1/servers/a/b c"), ServiceTooOld, "older"),
        (httpx.Response(404, text="<html>"), NotOurService, "with status 404"),
        (httpx.Response(301, headers={"Location": "/"}), NotOurService, "with status 301"),
        (httpx.Response(200, text="<html>"), AnswerUnknown, "its body"),
        (httpx.Response(200, json={"id": "1"}), AnswerUnknown, r"\(name\)"),
    ],
)
def test_each_answer_has_its_error(
    answer: httpx.Response, error: type[CsbsError], words: str
) -> None:
    with pytest.raises(error, match=words):
        read(Script(answer).connection())


def test_a_token_that_has_ended_is_renewed_once() -> None:
    script = Script(refused(401, "denied"), httpx.Response(200, json=FOUND))

    read(script.connection(Proof(renewals=1)))

    assert [each.headers["X-Auth-Token"] for each in script.requests] == ["first", "second"]


def test_without_a_password_a_login_that_has_ended_says_how_to_begin_another() -> None:
    with pytest.raises(LoginEnded, match=f"`csbs login {URL}`"):
        read(Script(refused(401, "denied", message="it has expired")).connection())


@pytest.mark.parametrize(
    "url", ["backup.example", "ftp://host", "https://", "https://host:x", "https://a:b@host"]
)
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(UrlInvalid):
        Address(url=url).checked()


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        (Address(url="http://127.0.0.1:1"), True),
        (Address(url="http://localhost:1"), True),
        (Address(url="http://[::1]:1"), True),
        (Address(url="https://backup.example"), True),
        (Address(url="http://backup.example", insecure_http=True), True),
        (Address(url="http://backup.example"), False),
        (Address(url="http://192.0.2.1"), False),
    ],
)
def test_plain_http_stays_on_this_machine(address: Address, fits: bool) -> None:  # noqa: FBT001  the answer
    check: Callable[[], object] = address.checked
    if fits:
        check()
    else:
        with pytest.raises(PlainHttpRefused):
            check()
