"""Every field of a login, wrong in its turn: 400 or 401 in Keystone's shape, and no trace."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest

from csbs.testing.live_api import ADMIN_PASSWORD, LiveApi, live_api

PASSWORD = {
    "identity": {
        "methods": ["password"],
        "password": {
            "user": {
                "id": None,
                "name": "admin",
                "password": ADMIN_PASSWORD,
                "domain": {"id": "default", "name": "Default"},
            }
        },
    },
    "scope": {
        "project": {"id": None, "name": "local", "domain": {"id": "default", "name": "Default"}},
    },
}
TOKEN = {"identity": {"methods": ["token"], "token": {"id": "0" * 64}}, "scope": {"domain": {}}}

Place = tuple[str | int, ...]

WRONG: list[Any] = [7, True, 1.5, [7], {"x": []}, "x" * 70_000, "no such", "\u202e", [[]], [None]]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        yield running


def places_of(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places_of(each, (*place, name))
    elif isinstance(value, list):
        yield from places_of(value[0], (*place, 0))


def with_value(auth: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    copy = deepcopy(auth)
    parent = copy
    for each in place[:-1]:
        parent = parent[each]
    if value is ...:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return copy


def is_refusal(answer: httpx.Response) -> bool:
    error = answer.json()["error"]
    assert set(error) == {"code", "title", "message"}
    assert error["code"] == answer.status_code
    assert len(error["message"]) < 300
    for word in ("Traceback", "sqlite", "pydantic", ".py", "csbs "):
        assert word not in error["message"]
    return answer.status_code in {400, 401, 403, 503}


CASES = [
    pytest.param(auth, place, id=".".join(map(str, ("auth", *place))) + f" by {method}")
    for method, auth in (("password", PASSWORD), ("token", TOKEN))
    for place in places_of(auth)
]


def test_the_whole_login_is_good(api: LiveApi) -> None:
    assert api.client.post("/v3/auth/tokens", json={"auth": PASSWORD}).status_code == 201


@pytest.mark.parametrize(("auth", "place"), CASES)
def test_a_field_of_a_login_is_wrong(api: LiveApi, auth: Any, place: Place) -> None:
    for value in [*WRONG, {}, [], None, ...]:
        if value is ... and not place:
            continue
        answer = api.client.post("/v3/auth/tokens", json={"auth": with_value(auth, place, value)})
        # What is optional may be of no use, and then says nothing.
        assert answer.status_code == 201 or is_refusal(answer), (repr(value)[:40], answer.text)
        if type(value) in {int, float, bool}:
            assert answer.status_code == 400, (value, answer.text)
