"""Lists of our own API: bounded pages that follow one another, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.domain.listing import Place
from csbs.domain.tenancy import Role
from csbs.testing.live_api import LiveApi, live_api
from csbs.testing.values import START
from tests.unit.api.people import PASSWORD

MIB = 1024**2
NATIVE = "/native/v1"
SERVERS = ("web-1", "web-2", "web-3")
LISTS = ["users", "projects", "projects/{own}/servers", "projects/{own}/backups"]
LISTS += ["projects/{own}/tasks", "projects/{own}/policies"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running, running.as_user() as admin:
        for name in SERVERS:
            running.driver.add_server(name, {"vda": MIB})
            running.region.users.create(f"of-{name}", PASSWORD)
            running.region.projects.create(f"local_{name}")
            own = f"{NATIVE}/projects/{running.project_id}"
            made = admin.post(f"{own}/backups", json={"server": name})
            assert made.status_code == 202, made.text
            assert admin.post(f"{own}/policies", json={"name": name}).status_code == 201
        running.wait_until_idle()  # a backup moves to its instant: the list would be another one
        yield running


def get(api: LiveApi, admin: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    filled = path.format(own=api.project_id)
    answer = admin.get(f"{NATIVE}/{filled}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(page: dict[str, Any]) -> list[str]:
    (rows,) = [value for key, value in page.items() if key != "next"]
    return [each["id"] for each in rows]


@pytest.mark.parametrize("path", LISTS)
def test_pages_follow_one_another_until_the_last(
    api: LiveApi, admin: httpx.Client, path: str
) -> None:
    everything = get(api, admin, path)
    found, sizes = list[str](), list[int]()
    after: str | None = ""
    while after is not None:
        page = get(api, admin, path, limit=2, after=after)
        found += ids(page)
        sizes.append(len(ids(page)))
        after = page["next"]

    assert found == ids(everything)
    assert len(set(found)) == len(found) >= len(SERVERS)
    assert everything["next"] is None
    assert max(sizes) == 2


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", [0, 1001, "many"])
def test_a_page_is_bounded(api: LiveApi, admin: httpx.Client, path: str, limit: Any) -> None:
    filled = path.format(own=api.project_id)

    answer = admin.get(f"{NATIVE}/{filled}", params={"limit": limit})

    assert answer.status_code == 400
    assert "limit" in answer.json()["error"]["message"]


def test_backups_of_one_server_are_paged_alone(api: LiveApi, admin: httpx.Client) -> None:
    page = get(api, admin, "projects/{own}/backups", server="web-2", limit=1)

    assert [each["server"]["name"] for each in page["backups"]] == ["web-2"]
    assert page["next"] is None


def test_a_page_goes_on_where_the_last_one_of_the_page_before_is_gone(
    api: LiveApi, admin: httpx.Client
) -> None:
    for name in ("gone-a", "gone-b"):
        api.region.users.create(name, PASSWORD)
    first = get(api, admin, "users", limit=2)
    assert [each["name"] for each in first["users"]] == ["admin", "gone-a"]

    api.region.users.delete("gone-a")

    second = get(api, admin, "users", limit=1, after=first["next"])
    assert [each["name"] for each in second["users"]] == ["gone-b"]


def test_projects_of_a_user_are_those_where_he_has_a_role(
    api: LiveApi, admin: httpx.Client
) -> None:
    api.region.users.set_role("of-web-1", "local_web-1", Role.READER)
    api.region.users.set_role("of-web-1", "local_web-3", Role.MEMBER)
    token = api.log_in("of-web-1", PASSWORD, project=None)
    path, mine = f"{NATIVE}/projects", {"X-Auth-Token": token}

    first = api.client.get(path, params={"limit": 1}, headers=mine).json()
    second = api.client.get(path, params={"after": first["next"]}, headers=mine).json()

    pages = [[each["name"] for each in page["projects"]] for page in (first, second)]
    assert pages == [["local_web-1"], ["local_web-3"]]
    assert second["next"] is None


@pytest.mark.parametrize("what", ["backups", "tasks", "policies"])
@pytest.mark.parametrize("after", ["x", "1767225600000000", "-", "2026-01-01Z", "7-A"])
def test_what_is_no_place_is_refused(
    api: LiveApi, admin: httpx.Client, what: str, after: str
) -> None:
    path = f"{NATIVE}/projects/{api.project_id}/{what}"

    answer = admin.get(f"{path}?after={after}")

    assert answer.status_code == 400
    assert "after" in answer.json()["error"]["message"]


def test_a_place_comes_back_as_it_was() -> None:
    place = Place(START.replace(microsecond=7), "8a1f-2")

    assert str(place) == "1767225600000007-8a1f-2"
    assert Place.parse(str(place)) == place
