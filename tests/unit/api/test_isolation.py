"""A second project over every route: nothing of the first one is seen, or changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.api.native.room import openapi_document
from csbs.domain.tenancy import Role
from csbs.testing.live_api import LiveApi, live_api

MIB = 1024**2
PASSWORD = "a-good-password"  # noqa: S105  of users that live as long as a test

#: Every call about a project.
CALLS = [
    (method, path)
    for path, calls in openapi_document()["paths"].items()
    for method in calls
    if "{project_id}" in path
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        running.driver.add_server("web", {"vda": MIB})
        running.region.projects.create("local_other")
        for name, project in (("olga", "local_other"), ("liam", "local")):
            running.region.users.create(name, PASSWORD)
            running.region.users.set_role(name, project, Role.MEMBER)
        yield running


@pytest.fixture(scope="module")
def olga(api: LiveApi) -> Iterator[httpx.Client]:
    token = api.log_in("olga", PASSWORD, "local_other")
    with httpx.Client(base_url=api.url, headers={"X-Auth-Token": token}) as client:
        yield client


#: By the end of the path: what a policy's calls need to be understood.
_BODIES: dict[str, dict[str, Any]] = {
    "policies": {"name": "nightly", "servers": ["web"]},
    "bind": {"servers": ["web"]},
    "unbind": {"servers": ["web"]},
}


def body_of(method: str, path: str) -> dict[str, Any] | None:
    if "/policies" in path or path.endswith("/tags"):
        return None if method in {"get", "delete"} else _BODIES.get(path.rpartition("/")[2], {})
    if method == "patch":
        return {} if path.endswith("/quotas") else {"freeze_without_watchdog": True}
    if method != "post":
        return None
    if path.endswith("/backups"):
        return {"server": "web"}
    return {} if path.endswith(("/restore", "/verifications")) else None


def filled(path: str, project_id: str) -> str:
    return re.sub(r"\{\w+\}", "web", path.replace("{project_id}", project_id))


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_another_project_is_not_entered(
    api: LiveApi, olga: httpx.Client, method: str, path: str
) -> None:
    answer = olga.request(method, filled(path, api.project_id), json=body_of(method, path))

    assert answer.status_code == 403
    assert "web" not in answer.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_things_of_another_project_are_not_there(
    api: LiveApi, olga: httpx.Client, method: str, path: str
) -> None:
    own = api.region.projects.find("local_other").id

    answer = olga.request(method, filled(path, own), json=body_of(method, path))

    if path.endswith("/quotas"):
        assert answer.status_code == (200 if method == "get" else 403)
        return
    if "/repository" in path:  # for administrators
        assert answer.status_code == 403
        return
    names_something = path.count("{") > 1 or body_of(method, path) is not None
    assert answer.status_code == (404 if names_something else 200)
    if not names_something and method == "get":
        assert all(not each for each in answer.json().values() if "audit" not in path)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_nobody_is_let_in_without_a_login(api: LiveApi, method: str, path: str) -> None:
    answer = api.client.request(method, filled(path, api.project_id), json=body_of(method, path))

    assert answer.status_code == 401


def test_the_lists_of_identity_have_the_callers_own_only(api: LiveApi, olga: httpx.Client) -> None:
    projects = olga.get("/v3/projects").json()["projects"]
    users = olga.get("/v3/users").json()["users"]

    assert [each["name"] for each in projects] == ["local_other"]
    assert [each["name"] for each in users] == ["olga"]
    assert olga.get("/v3/projects?name=local").json()["projects"] == []
    assert olga.get(f"/v3/projects/{api.project_id}").status_code == 404
    admin = api.region.users.find("admin").id
    assert olga.get(f"/v3/users/{admin}").status_code == 403
