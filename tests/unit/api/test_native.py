"""Our own API over HTTP: users, projects, keys, servers, backups, tasks, the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.domain.errors import FolderUnusable
from csbs.testing.live_api import ADMIN_PASSWORD, LiveApi, live_api
from tests.unit.api.people import PASSWORD, add_people, of_project

MIB = 1024**2
NATIVE = "/native/v1"
NUMBERS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        running.driver.add_server("web", {"vda": 4 * MIB})
        add_people(running)
        yield running


# --- users ------------------------------------------------------------------------------------


def new_user(admin: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"name": f"user-{next(NUMBERS)}", "password": PASSWORD} | fields
    answer = admin.post(f"{NATIVE}/users", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_new_user_logs_in_where_he_has_a_role(api: LiveApi, admin: httpx.Client) -> None:
    user = new_user(admin)

    answer = admin.put(
        f"{NATIVE}/users/{user['id']}/roles/{api.project_id}", json={"role": "reader"}
    )

    assert answer.json() == {
        "project": {"id": api.project_id, "name": "local"},
        "role": "reader",
    }
    assert api.log_in(user["name"], PASSWORD)
    shown = admin.get(f"{NATIVE}/users/{user['name']}").json()
    assert [each["role"] for each in shown["roles"]] == ["reader"]


def test_a_role_that_was_taken_lets_nobody_in(api: LiveApi, admin: httpx.Client) -> None:
    user = new_user(admin)
    path = f"{NATIVE}/users/{user['id']}/roles/local"
    admin.put(path, json={"role": "member"})
    with api.as_user(user["name"], PASSWORD) as his:
        before = his.get(of_project(api, "servers")).status_code

        assert admin.delete(path).status_code == 204

        assert [before, his.get(of_project(api, "servers")).status_code] == [200, 403]


def test_another_password_ends_all_tokens(api: LiveApi, admin: httpx.Client) -> None:
    user = new_user(admin)
    token = api.log_in(user["name"], PASSWORD, project=None)

    changed = admin.patch(f"{NATIVE}/users/{user['id']}", json={"password": "another-password"})

    assert changed.status_code == 200
    headers = {"X-Auth-Token": token}
    assert api.client.get(f"{NATIVE}/users/me", headers=headers).status_code == 401
    assert api.log_in(user["name"], "another-password", project=None)


def test_a_user_changes_his_own_password_with_the_old_one(
    api: LiveApi, admin: httpx.Client
) -> None:
    user = new_user(admin)
    headers = {"X-Auth-Token": api.log_in(user["name"], PASSWORD, project=None)}
    path = f"{NATIVE}/users/me/password"

    wrong = api.client.put(path, json={"old": "wrong", "new": "new-password"}, headers=headers)
    right = api.client.put(path, json={"old": PASSWORD, "new": "new-password"}, headers=headers)

    assert [wrong.status_code, right.status_code] == [401, 204]
    assert api.log_in(user["name"], "new-password", project=None)


def test_a_disabled_user_is_out_at_once(api: LiveApi, admin: httpx.Client) -> None:
    user = new_user(admin)
    headers = {"X-Auth-Token": api.log_in(user["name"], PASSWORD, project=None)}

    admin.patch(f"{NATIVE}/users/{user['id']}", json={"enabled": False})

    assert api.client.get(f"{NATIVE}/users/me", headers=headers).status_code == 401


def test_the_last_administrator_stays(admin: httpx.Client) -> None:
    answers = [
        admin.delete(f"{NATIVE}/users/admin"),
        admin.patch(f"{NATIVE}/users/admin", json={"enabled": False}),
        admin.patch(f"{NATIVE}/users/admin", json={"is_admin": False}),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert admin.get(f"{NATIVE}/users/me").json()["is_admin"] is True


def test_a_deleted_user_is_gone(api: LiveApi, admin: httpx.Client) -> None:
    user = new_user(admin)
    key = admin.post(f"{NATIVE}/users/{user['id']}/keys", json={}).json()

    assert admin.delete(f"{NATIVE}/users/{user['id']}").status_code == 204

    assert admin.get(f"{NATIVE}/users/{user['id']}").status_code == 404
    assert admin.delete(f"{NATIVE}/users/me/keys/{key['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"password": PASSWORD}, "name"),
        ({"name": "", "password": PASSWORD}, "name"),
        ({"name": "a b", "password": PASSWORD}, "name"),
        ({"name": "x" * 65, "password": PASSWORD}, "name"),
        ({"name": 7, "password": PASSWORD}, "name"),
        ({"name": "short", "password": "short"}, "password"),
        ({"name": "long", "password": "x" * 257}, "password"),
        ({"name": "odd", "password": PASSWORD, "is_admin": "yes"}, "is_admin"),
        ({"name": "odd", "password": PASSWORD, "unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_field_is_named(admin: httpx.Client, body: dict[str, Any], part: str) -> None:
    answer = admin.post(f"{NATIVE}/users", json=body)

    assert answer.status_code == 400
    assert part in answer.json()["error"]["message"]


def test_a_name_is_taken_once(admin: httpx.Client) -> None:
    answer = admin.post(f"{NATIVE}/users", json={"name": "mia", "password": PASSWORD})

    assert answer.status_code == 409


def test_admin_is_no_role_of_a_project(admin: httpx.Client) -> None:
    answer = admin.put(f"{NATIVE}/users/mia/roles/local", json={"role": "admin"})

    assert answer.status_code == 400
    assert "role" in answer.json()["error"]["message"]


# --- what each role may do --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "users"),
        ("POST", "users"),
        ("GET", "users/admin"),
        ("GET", "users/admin/keys"),
        ("POST", "users/admin/keys"),
        ("POST", "projects"),
        ("DELETE", "projects/local"),
        ("PUT", "servers/web/project"),
        ("GET", "audit"),
        ("PATCH", "projects/{own}/quotas"),
    ],
)
def test_running_the_region_is_for_administrators(
    api: LiveApi, member: httpx.Client, method: str, path: str
) -> None:
    bodies = {
        ("POST", "users"): {"name": "x", "password": PASSWORD},
        ("POST", "users/admin/keys"): {},
        ("POST", "projects"): {"name": "local_x"},
        ("PUT", "servers/web/project"): {"project": "local"},
        ("PATCH", "projects/{own}/quotas"): {"backups": 1},
    }
    filled = path.format(own=api.project_id)

    answer = member.request(method, f"{NATIVE}/{filled}", json=bodies.get((method, path)))

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "servers/web/start", None),
        ("POST", "servers/web/stop", None),
        ("POST", "backups", {"server": "web"}),
        ("DELETE", "backups/x", None),
        ("POST", "backups/x/restore", {}),
        ("POST", "tasks/x/cancel", None),
        ("DELETE", "tasks/x", None),
        ("DELETE", "failed-tasks", None),
    ],
)
def test_a_reader_changes_nothing(
    api: LiveApi, reader: httpx.Client, method: str, path: str, body: Any
) -> None:
    assert reader.request(method, of_project(api, path), json=body).status_code == 403


@pytest.mark.parametrize("path", ["servers", "backups", "tasks", "audit"])
def test_a_reader_sees_all_of_his_project(api: LiveApi, reader: httpx.Client, path: str) -> None:
    assert reader.get(of_project(api, path)).status_code == 200


# --- keys -------------------------------------------------------------------------------------


def test_the_secret_of_a_key_is_shown_once(member: httpx.Client) -> None:
    made = member.post(f"{NATIVE}/users/me/keys", json={"description": "for tests"}).json()

    listed = member.get(f"{NATIVE}/users/me/keys").json()["keys"]

    assert len(made["secret"]) == 40
    assert made["id"] in {each["id"] for each in listed}
    assert all("secret" not in each for each in listed)
    assert member.delete(f"{NATIVE}/users/me/keys/{made['id']}").status_code == 204


def test_secrets_are_sealed_in_the_catalog(api: LiveApi, admin: httpx.Client) -> None:
    made = admin.post(f"{NATIVE}/users/me/keys", json={}).json()
    files = api.settings.data_dir.glob("catalog.sqlite*")

    assert made["secret"].encode() not in b"".join(file.read_bytes() for file in files)
    admin.delete(f"{NATIVE}/users/me/keys/{made['id']}")


def test_tokens_are_not_in_the_catalog(api: LiveApi) -> None:
    token = api.log_in()
    files = api.settings.data_dir.glob("catalog.sqlite*")

    assert token.encode() not in b"".join(file.read_bytes() for file in files)


def test_a_user_has_ten_keys_at_most(admin: httpx.Client) -> None:
    user = new_user(admin)
    path = f"{NATIVE}/users/{user['id']}/keys"

    statuses = [admin.post(path, json={}).status_code for _ in range(11)]

    assert statuses == [201] * 10 + [409]


def test_a_key_of_another_user_is_not_there(admin: httpx.Client, member: httpx.Client) -> None:
    key = admin.post(f"{NATIVE}/users/me/keys", json={}).json()["id"]

    assert member.delete(f"{NATIVE}/users/me/keys/{key}").status_code == 404
    assert admin.delete(f"{NATIVE}/users/me/keys/{key}").status_code == 204


# --- projects and servers ---------------------------------------------------------------------


def new_project(admin: httpx.Client) -> dict[str, str]:
    answer = admin.post(f"{NATIVE}/projects", json={"name": f"local_{next(NUMBERS)}"})
    assert answer.status_code == 201
    found: dict[str, str] = answer.json()
    return found


def test_a_project_is_called_like_the_region_and_more(admin: httpx.Client) -> None:
    answer = admin.post(f"{NATIVE}/projects", json={"name": "sales"})

    assert answer.status_code == 409
    assert "local_sales" in answer.json()["error"]["message"]


def test_a_project_that_owns_nothing_is_deleted(api: LiveApi, admin: httpx.Client) -> None:
    project = new_project(admin)

    assert admin.delete(f"{NATIVE}/projects/{project['id']}").status_code == 204

    names = [each["name"] for each in admin.get(f"{NATIVE}/projects").json()["projects"]]
    assert project["name"] not in names


def test_the_project_of_new_servers_stays(admin: httpx.Client) -> None:
    assert admin.delete(f"{NATIVE}/projects/local").status_code == 409


def test_a_server_moves_to_the_project_it_is_assigned_to(api: LiveApi, admin: httpx.Client) -> None:
    server = api.driver.add_server("moving", {"vda": MIB})
    project = new_project(admin)
    with httpx.Client(
        base_url=api.url, headers={"X-Auth-Token": api.log_in(project=project["name"])}
    ) as there:
        theirs = f"{NATIVE}/projects/{project['id']}/servers/{server.id}"
        before = there.get(theirs).status_code, admin.get(of_project(api, "servers/moving"))

        answer = admin.put(f"{NATIVE}/servers/moving/project", json={"project": project["name"]})

        assert answer.json()["project"] == project
        assert (before[0], before[1].status_code) == (404, 200)
        assert there.get(theirs).status_code == 200
    assert admin.get(of_project(api, "servers/moving")).status_code == 404
    assert "moving" not in [
        each["name"] for each in admin.get(of_project(api, "servers")).json()["servers"]
    ]
    refused = admin.delete(f"{NATIVE}/projects/{project['id']}")
    assert refused.status_code == 409
    assert "1 servers" in refused.json()["error"]["message"]


def test_a_token_of_another_project_is_none_for_this_one(api: LiveApi, admin: httpx.Client) -> None:
    project = new_project(admin)

    answer = admin.get(f"{NATIVE}/projects/{project['id']}/servers")

    assert answer.status_code == 403


def test_a_project_that_is_not_there_is_as_one_without_a_role(member: httpx.Client) -> None:
    answer = member.get(f"{NATIVE}/projects/{'0' * 32}/servers")

    assert answer.status_code == 403


def test_a_server_is_shown_without_paths_of_the_host(api: LiveApi, member: httpx.Client) -> None:
    answer = member.get(of_project(api, "servers/web"))

    assert answer.json()["disks"][0]["size_bytes"] == 4 * MIB
    assert str(api.settings.data_dir.parent) not in answer.text


def test_an_administrator_sets_limits_that_a_reader_sees(
    api: LiveApi, admin: httpx.Client, reader: httpx.Client
) -> None:
    path = of_project(api, "quotas")

    changed = admin.patch(path, json={"backups": 7, "policies": -1})

    assert changed.status_code == 200
    assert reader.get(path).json() == {
        "backups": {"limit": 7, "used": 0},
        "backup_bytes": {"limit": None, "used": 0},
        "policies": {"limit": None, "used": 0},
    }
    assert admin.patch(path, json={"backups": -1}).json()["backups"]["limit"] is None


@pytest.mark.parametrize("limit", [-2, 2**53, "7", 1.5, True])
def test_what_is_no_limit_is_refused(api: LiveApi, admin: httpx.Client, limit: Any) -> None:
    assert admin.patch(of_project(api, "quotas"), json={"backups": limit}).status_code == 400


# --- the audit trail --------------------------------------------------------------------------


def events(client: httpx.Client, path: str = f"{NATIVE}/audit") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["number"] if found else 0
        page = client.get(path, params={"after": after, "limit": 20}).json()["events"]
        found += page
        if not page:
            return found


def test_a_change_is_in_the_trail_with_who_when_what_and_where(
    api: LiveApi, admin: httpx.Client
) -> None:
    answer = admin.post(f"{NATIVE}/projects", json={"name": f"local_{next(NUMBERS)}"})

    (event,) = [
        each for each in events(admin) if each["request_id"] == answer.headers["x-request-id"]
    ]
    assert event["user"]["name"] == "admin"
    assert event["action"] == "create_project"
    assert event["target"] == f"{NATIVE}/projects"
    assert event["remote_address"] == "127.0.0.1"
    assert event["result"] == "done"


def test_a_refused_change_is_in_the_trail_with_the_reason(
    api: LiveApi, admin: httpx.Client, member: httpx.Client
) -> None:
    answer = member.post(f"{NATIVE}/projects", json={"name": "local_mine"})

    (event,) = [
        each for each in events(admin) if each["request_id"] == answer.headers["x-request-id"]
    ]
    assert (event["user"]["name"], event["result"]) == ("mia", "denied")
    assert "admin" in event["reason"]


def test_a_failed_login_is_in_the_trail_without_the_password(
    api: LiveApi, admin: httpx.Client
) -> None:
    user = {"name": "mallory", "password": "guessed-password", "domain": {"name": "Default"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    answer = api.client.post("/v3/auth/tokens", json={"auth": {"identity": identity}})

    (event,) = [
        each for each in events(admin) if each["request_id"] == answer.headers["x-request-id"]
    ]
    assert (event["action"], event["user"]["name"]) == ("create_token", "mallory")
    assert event["result"] == "denied"
    assert "guessed-password" not in str(event)


def test_looking_leaves_nothing_in_the_trail(api: LiveApi, admin: httpx.Client) -> None:
    before = len(events(admin))

    admin.get(of_project(api, "servers"))

    assert len(events(admin)) == before


def test_a_project_sees_its_own_changes_only(
    api: LiveApi, admin: httpx.Client, member: httpx.Client
) -> None:
    member.delete(of_project(api, "failed-tasks"))
    new_user(admin)

    seen = events(member, of_project(api, "audit"))

    assert "delete_failed_tasks" in {each["action"] for each in seen}
    assert {each["project_id"] for each in seen} == {api.project_id}


def test_passwords_of_bodies_are_not_in_the_trail(api: LiveApi, admin: httpx.Client) -> None:
    new_user(admin, password="seen-nowhere-else")  # noqa: S106  of a user of this test

    assert "seen-nowhere-else" not in str(events(admin))
    assert ADMIN_PASSWORD not in str(events(admin))


def test_what_a_part_of_the_host_said_is_for_administrators(
    api: LiveApi, admin: httpx.Client, member: httpx.Client
) -> None:
    def fail(_call: str) -> None:
        raise FolderUnusable("/var/secret", "no space left")

    api.driver.before_call = fail
    try:
        answers = [
            client.post(of_project(api, "servers/web/start")).json()["error"]
            for client in (admin, member)
        ]
    finally:
        api.driver.before_call = lambda _: None

    assert "/var/secret" in answers[0]["message"]
    assert answers[1] == {
        "kind": "unavailable",
        "object": "",
        "message": "A part of the service failed.",
    }
