"""Every route of every room, called by somebody of another project: nothing is seen, or changed.

Made from the routes of the application: a new one is called too, and one with a new name in its
path fails here until the name stands in `ids`.  What all objects of project `local` have in their
names must be in no answer to `otto`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from csbs.api.application import ApiOptions, make_application
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.domain.tenancy import DOMAIN_ID, UserId
from csbs.services.region import Region
from csbs.services.rpo import RpoSummary
from tests.unit.api.csbs_v1.lab import (
    PATTERN,
    PROVIDER,
    Caller,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)

MARK = "zebra"
SERVER_ID = "44444444-4444-4444-8444-444444444444"
SERVER_TYPE = "OS::Nova::Server"

#: What lies below the paths of a project.
OF_A_PROJECT = ("/v1/{project_id}", "/native/v1/projects/{project_id}")
#: Names in a path that are no objects of a project.
OF_ALL = {"project_id", "provider_id", "resource_type", "name", "domain_id"}
#: Here the caller finds his own calls, with what they named.
AUDIT = "/native/v1/projects/{project_id}/audit"


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        made.driver.add_server(SERVER_ID, f"{MARK}-server")
        yield made


@pytest.fixture(scope="module")
def ids(lab: CsbsLab) -> dict[str, str]:
    """Objects of project `local`, by the names that paths give them."""
    tags = [{"key": MARK, "value": MARK}]
    item = lab.back_up(SERVER_ID, backup_name=f"{MARK}-backup", description=MARK, tags=tags)
    policy = lab.mia.post("/policies", {"policy": new_policy(tags)}).json()["policy"]
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    restore = lab.mia.restore(item, volumes).json()["restore"]
    lab.finish()
    lab.region.users.create(f"{MARK}-user", "a-long-password")
    user = lab.region.users.find(f"{MARK}-user")
    key, _secret = lab.region.access_keys.create(user, f"{MARK}-key")
    schedule = policy["scheduled_operations"][0]
    target = {"name": f"{MARK}-target", "channel": "webhook", "url": f"https://{MARK}.example/"}
    notifications = f"/native/v1/projects/{lab.project_id}/notifications"
    notification = lab.mia.client.post(notifications, json=target, headers=lab.mia.headers)
    assert notification.status_code == 201, notification.text
    return {
        **dict.fromkeys(("item_id", "verification_id", "backup", "backup_id"), item["id"]),
        "checkpoint_id": item["checkpoint_id"],
        **dict.fromkeys(("policy_id", "plan_id", "policy"), policy["id"]),
        "trigger_id": schedule["trigger_id"],
        "operation_id": schedule["id"],
        **dict.fromkeys(("restore_id", "log_id", "task", "task_id"), restore["id"]),
        **dict.fromkeys(("resource_id", "instance_id", "server", "server_id"), SERVER_ID),
        **dict.fromkeys(("tenant_id", "project"), lab.project_id),
        **dict.fromkeys(("user", "user_id"), user.id),
        "key": key.id,
        "disk": "vda",
        "chore": restore["id"],
        "notification": notification.json()["id"],
        "service_id": "1",
        "provider_id": PROVIDER_ID,
        "resource_type": SERVER_TYPE,
        "domain_id": DOMAIN_ID,
        "name": "default",
    }


def new_policy(tags: list[dict[str, str]]) -> dict[str, Any]:
    operation = {
        "name": f"{MARK}-schedule",
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {},
        "trigger": {"properties": {"pattern": PATTERN}},
    }
    return {
        "name": f"{MARK}-policy",
        "provider_id": PROVIDER_ID,
        "parameters": {},
        "resources": [{"id": SERVER_ID, "type": SERVER_TYPE, "name": f"{MARK}-server"}],
        "scheduled_operations": [operation],
        "tags": tags,
    }


def routes() -> list[tuple[str, str]]:
    """Method and path of every call of the service."""
    nothing = SimpleNamespace(new_id=str, rpo=RpoSummary)  # nobody is served
    app = make_application(cast("Region", nothing), ApiOptions())
    found = set()
    included: list[Any] = list(app.routes)
    for route in included:
        contexts = getattr(route, "effective_route_contexts", None)
        for each in contexts() if contexts else [route]:
            methods = getattr(each, "original_route", each).methods
            found |= {(method, each.path) for method in methods}
    assert len(found) > 120
    return sorted(found)


ROUTES = routes()


def is_of_a_project(path: str) -> bool:
    return path.startswith(OF_A_PROJECT)


def names_of(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path))


def body_of(path: str, ids: dict[str, str]) -> dict[str, Any]:
    """One that is good for whatever is called: keys that nobody knows are ignored."""
    if path.startswith("/native"):
        bodies: dict[str, dict[str, Any]] = {
            "/backups": {"server": SERVER_ID},
            "/quotas": {},
            "/servers/{server}": {"freeze_without_watchdog": True},
        }
        return next((body for end, body in bodies.items() if path.endswith(end)), {})
    question = [{"resource_id": SERVER_ID, "resource_type": SERVER_TYPE}]
    if path.endswith(("{policy_id}", "{plan_id}")):
        return {"policy": {"name": "stolen"}, "plan": {"name": "stolen"}}
    if path.endswith("/resources/action"):
        return {"check_protectable": question}
    volumes: list[Any] = []
    return {
        "protect": {},
        "checkpoint": {"plan_id": ids["policy_id"]},
        "restore": {
            "provider_id": PROVIDER_ID,
            "checkpoint_id": ids["checkpoint_id"],
            "parameters": {
                "checkpoint_item_id": ids["item_id"],
                "power_on": True,
                "targets": {"server_id": SERVER_ID, "volumes": volumes},
            },
        },
        "policy": new_policy([{"key": "a", "value": ""}]),
        "plan": new_policy([]),
        "tag": {"key": "a", "value": "b"},
        "tags": [{"key": MARK}],
        "action": "filter" if "resource_instances" in path else "create",
        "quota": {"plans": 0},
    }


def call(
    caller: Caller, method: str, path: str, ids: dict[str, str], project_id: str
) -> httpx.Response:
    owner = ids["policy_id"] if "csbs_backup_policy" in path else ids["item_id"]
    names = ids | ({"resource_id": owner, "key": MARK} if "/csbs_backup" in path else {})
    unknown = names_of(path) - set(names) - {"project_id"}
    assert not unknown, f"say in `ids` what {unknown} is"
    body = body_of(path, ids) if method in {"POST", "PUT", "PATCH"} else None
    if path == "/v3/auth/tokens" and method == "POST":
        body = {"auth": {"identity": {"methods": []}}}
    if method == "DELETE" and path == "/v3/auth/tokens":
        method = "HEAD"  # else it would end the token of all tests here
    url = path.format(**names | {"project_id": project_id})
    return caller.client.request(method, url, json=body, headers=caller.headers)


def told(answer: httpx.Response, ids: dict[str, str]) -> set[str]:
    """What the answer has of project `local` that the call did not say itself."""
    asked = answer.request.url.path + answer.request.content.decode()
    own = {value for name, value in ids.items() if name not in OF_ALL and len(value) > 8}
    return {value for value in own | {MARK} if value in answer.text and value not in asked}


def is_no_fault(answer: httpx.Response) -> bool:
    return answer.status_code < 500 or answer.json().get("error_code") == "CSBS.9998"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_project_is_not_entered(
    lab: CsbsLab, ids: dict[str, str], method: str, path: str
) -> None:
    answer = call(lab.otto, method, path, ids, lab.project_id)

    assert is_no_fault(answer), answer.text
    assert told(answer, ids) == set()
    if is_of_a_project(path):
        assert answer.status_code == 403, answer.text
        if path.startswith("/v1"):
            assert is_error(answer, 403, "CSBS.9009")


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if is_of_a_project(each[1])])
def test_its_objects_are_not_in_the_callers_own(
    lab: CsbsLab, ids: dict[str, str], method: str, path: str
) -> None:
    own = lab.region.projects.find("local_other").id

    answer = call(lab.otto, method, path, ids, own)

    assert is_no_fault(answer), answer.text
    assert path == AUDIT or told(answer, ids) == set()
    if names_of(path) - OF_ALL and method != "POST":
        assert answer.status_code in {403, 404}, answer.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_is_told_anything(lab: CsbsLab, ids: dict[str, str], method: str, path: str) -> None:
    nobody = Caller(client=lab.mia.client, headers={}, base="")

    answer = call(nobody, method, path, ids, lab.project_id)

    assert told(answer, ids) == set()
    if is_of_a_project(path):
        assert answer.status_code == 401
        if path.startswith("/v1"):
            assert is_error(answer, 401, "CSBS.9009")


def test_nothing_was_changed_by_all_that(lab: CsbsLab, ids: dict[str, str]) -> None:
    def shown() -> list[Any]:
        paths = (
            *("/checkpoint_items", "/policies", "/restores", "/operation_logs", "/quotas"),
            *("/csbs_backup/tags", "/csbs_backup_policy/tags", f"{PROVIDER}/checkpoints"),
            f"/quotas/{lab.project_id}",
        )
        return [lab.mia.get(path).json() for path in paths]

    before = shown()
    assert MARK in str(before)

    for method, path in ROUTES:
        if method == "GET":
            continue
        for project_id in (lab.project_id, lab.region.projects.find("local_other").id):
            call(lab.otto, method, path, ids, project_id)

    assert shown() == before
    assert lab.runner.held == []
    assert lab.region.users.find(f"{MARK}-user").enabled
    assert len(lab.region.access_keys.of_user(UserId(ids["user"]))) == 1
