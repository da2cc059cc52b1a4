"""Tokens over HTTP: how clients of that cloud log in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.domain.tenancy import DOMAIN_ID, Role
from csbs.testing.live_api import ADMIN_PASSWORD, LiveApi, live_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        running.region.users.create("rita", "rita-password")
        running.region.users.set_role("rita", "local", Role.READER)
        yield running


def body(user: dict[str, Any], scope: Any = None) -> dict[str, Any]:
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": auth | ({} if scope is None else {"scope": scope})}


ADMIN = {"name": "admin", "password": ADMIN_PASSWORD, "domain": {"name": "Default"}}
LOCAL = {"project": {"name": "local", "domain": {"name": "Default"}}}


def log_in(api: LiveApi, user: dict[str, Any], scope: Any = None) -> httpx.Response:
    return api.client.post("/v3/auth/tokens", json=body(user, scope))


def test_a_password_gives_a_token_with_project_roles_and_catalog(api: LiveApi) -> None:
    answer = log_in(api, ADMIN, LOCAL)

    token = answer.json()["token"]
    assert answer.status_code == 201
    assert answer.headers["X-Subject-Token"]
    assert token["methods"] == ["password"]
    assert token["project"]["id"] == api.project_id
    assert token["user"]["domain"] == {"id": DOMAIN_ID, "name": "Default"}
    assert {role["name"] for role in token["roles"]} == {"admin", "member", "reader"}
    assert token["expires_at"].endswith("Z")
    assert "." in token["expires_at"]
    urls = {each["type"]: each["endpoints"][0]["url"] for each in token["catalog"]}
    assert urls["data-protect"] == f"{api.url}/v1/{api.project_id}"
    assert urls["identity"] == f"{api.url}/v3"


@pytest.mark.parametrize("domain", [{"id": DOMAIN_ID}, {"id": "default"}, {"name": "Default"}])
def test_the_domain_is_named_by_id_or_name(api: LiveApi, domain: dict[str, str]) -> None:
    assert log_in(api, ADMIN | {"domain": domain}).status_code == 201


def test_a_user_and_a_project_are_named_by_id(api: LiveApi) -> None:
    user = {"id": api.region.users.find("admin").id, "password": ADMIN_PASSWORD}

    answer = log_in(api, user, {"project": {"id": api.project_id}})

    assert answer.json()["token"]["project"]["name"] == "local"


@pytest.mark.parametrize(
    "user",
    [
        ADMIN | {"password": "wrong"},
        ADMIN | {"name": "nobody"},
        ADMIN | {"domain": {"name": "other"}},
    ],
)
def test_a_wrong_login_is_401(api: LiveApi, user: dict[str, Any]) -> None:
    answer = log_in(api, user, LOCAL)

    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["error"]["code"] == 401
    assert answer.json()["error"]["title"] == "Unauthorized"


def test_a_token_without_a_scope_has_no_project(api: LiveApi) -> None:
    token = log_in(api, ADMIN).json()["token"]

    assert "project" not in token
    assert [each["type"] for each in token["catalog"]] == ["identity"]


def test_a_token_of_the_domain_has_no_project(api: LiveApi) -> None:
    token = log_in(api, ADMIN, {"domain": {"name": "Default"}}).json()["token"]

    assert "project" not in token
    assert token["domain"]["id"] == DOMAIN_ID


def test_a_token_gives_another_that_lives_no_longer(api: LiveApi) -> None:
    first = log_in(api, ADMIN)
    identity = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}

    second = api.client.post(
        "/v3/auth/tokens", json={"auth": {"identity": identity, "scope": LOCAL}}
    )

    assert second.status_code == 201
    assert second.json()["token"]["methods"] == ["password", "token"]
    assert second.json()["token"]["expires_at"] == first.json()["token"]["expires_at"]


def test_a_project_without_a_role_is_403(api: LiveApi) -> None:
    api.region.projects.create("local_tokens")

    answer = log_in(
        api,
        {"name": "rita", "password": "rita-password"},
        {"project": {"name": "local_tokens", "domain": {"id": DOMAIN_ID}}},
    )

    assert answer.status_code == 403


def test_the_catalog_is_left_out_on_demand(api: LiveApi) -> None:
    answer = api.client.post("/v3/auth/tokens?nocatalog", json=body(ADMIN, LOCAL))

    assert "catalog" not in answer.json()["token"]


def test_a_token_is_shown_and_echoed(api: LiveApi) -> None:
    token = api.log_in()

    answer = api.client.get(
        "/v3/auth/tokens", headers={"X-Auth-Token": token, "X-Subject-Token": token}
    )

    assert answer.status_code == 200
    assert answer.headers["X-Subject-Token"] == token
    assert answer.json()["token"]["user"]["name"] == "admin"


def test_a_revoked_token_is_401(api: LiveApi) -> None:
    token = api.log_in()
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}

    assert api.client.delete("/v3/auth/tokens", headers=headers).status_code == 204
    assert api.client.get("/v3/auth/tokens", headers=headers).status_code == 401


def test_another_ones_token_is_for_administrators(api: LiveApi) -> None:
    admin, rita = api.log_in(), api.log_in("rita", "rita-password")

    hers = api.client.get(
        "/v3/auth/tokens", headers={"X-Auth-Token": admin, "X-Subject-Token": rita}
    )
    his = api.client.get(
        "/v3/auth/tokens", headers={"X-Auth-Token": rita, "X-Subject-Token": admin}
    )

    assert hers.json()["token"]["user"]["name"] == "rita"
    assert his.status_code == 403


def test_a_subject_that_is_no_token_is_404_and_the_callers_own_stays_good(api: LiveApi) -> None:
    own = api.log_in()
    headers = {"X-Auth-Token": own, "X-Subject-Token": "0" * 64}

    answers = [
        api.client.request(method, "/v3/auth/tokens", headers=headers)
        for method in ("GET", "HEAD", "DELETE")
    ]

    # 401 would make SDKs log in again, and again.
    assert [each.status_code for each in answers] == [404, 404, 404]
    assert api.client.get("/v3/users", headers={"X-Auth-Token": own}).status_code == 200


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "no type at all"]
)
def test_a_login_is_read_whatever_its_content_type(api: LiveApi, content_type: str | None) -> None:
    user = {"name": "admin", "password": ADMIN_PASSWORD, "domain": {"id": "default"}}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    headers = {} if content_type is None else {"content-type": content_type}

    answer = api.client.post(
        "/v3/auth/tokens", content=json.dumps({"auth": auth}).encode(), headers=headers
    )

    assert answer.status_code == 201
