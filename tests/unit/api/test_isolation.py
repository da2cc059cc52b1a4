"""A second project, by identity's lists and tokens; every route of all is in `test_every_route`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from csbs.domain.tenancy import Role
from csbs.testing.live_api import LiveApi, live_api

MIB = 1024**2
PASSWORD = "a-good-password"  # noqa: S105  of users that live as long as a test


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


def test_the_lists_of_identity_have_the_callers_own_only(api: LiveApi, olga: httpx.Client) -> None:
    projects = olga.get("/v3/projects").json()["projects"]
    users = olga.get("/v3/users").json()["users"]

    assert [each["name"] for each in projects] == ["local_other"]
    assert [each["name"] for each in users] == ["olga"]
    assert olga.get("/v3/projects?name=local").json()["projects"] == []
    assert olga.get(f"/v3/projects/{api.project_id}").status_code == 404
    admin = api.region.users.find("admin").id
    assert olga.get(f"/v3/users/{admin}").status_code == 403
