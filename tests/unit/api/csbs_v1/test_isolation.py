"""Who may call what: roles, and another project's objects, which are not there.

That no call enters another project is in `tests.unit.api.test_every_route`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from csbs.api.csbs_v1 import ROOM
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import (
    PATTERN,
    PROVIDER,
    WEB,
    Caller,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)

SERVER = "OS::Nova::Server"


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        yield made


@pytest.fixture(scope="module")
def ids(lab: CsbsLab) -> dict[str, str]:
    """Objects of project `local`, by the names that paths give them."""
    item = lab.back_up(WEB, tags=[{"key": "env", "value": "test"}])
    operation = {
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {},
        "trigger": {"properties": {"pattern": PATTERN}},
    }
    policy = {
        "name": "nightly",
        "provider_id": PROVIDER_ID,
        "parameters": {},
        "resources": [{"id": WEB, "type": SERVER, "name": "web"}],
        "scheduled_operations": [operation],
        "tags": [{"key": "env", "value": "test"}],
    }
    made = lab.mia.post("/policies", {"policy": policy}).json()["policy"]
    schedule = made["scheduled_operations"][0]
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    restore = {
        "provider_id": PROVIDER_ID,
        "checkpoint_id": item["checkpoint_id"],
        "parameters": {
            "checkpoint_item_id": item["id"],
            "power_on": True,
            "targets": {"server_id": WEB, "volumes": volumes},
        },
    }
    restored = lab.mia.post("/restores", {"restore": restore}).json()["restore"]
    lab.finish()
    return {
        "provider_id": PROVIDER_ID,
        "resource_id": WEB,
        "instance_id": WEB,
        "resource_type": SERVER,
        "item_id": item["id"],
        "checkpoint_id": item["checkpoint_id"],
        "policy_id": made["id"],
        "plan_id": made["id"],
        "trigger_id": schedule["trigger_id"],
        "operation_id": schedule["id"],
        "restore_id": restored["id"],
        "log_id": restored["id"],
        "tenant_id": str(lab.project_id),
        "verification_id": item["id"],
        "service_id": "1",
        "name": "default",
        "key": "env",
    }


def routes() -> list[tuple[str, str]]:
    """Method and path of every call of the room."""
    included: list[Any] = list(ROOM.router.routes)
    found = [
        (method, context.path.removeprefix("/v1/{project_id}"))
        for each in included
        for context in each.effective_route_contexts()
        for method in sorted(context.original_route.methods)
    ]
    assert len(found) > 60
    return found


def filled(path: str, ids: dict[str, str]) -> str:
    owner = ids["policy_id" if path.startswith("/csbs_backup_policy") else "item_id"]
    names = ids if not path.startswith("/csbs_backup") else ids | {"resource_id": owner}
    return path.format(**names)


BODIES: dict[str, Any] = {
    "/providers/{provider_id}/resources/{resource_id}/action": {"protect": {}},
    "/csbs_backup/{resource_id}/tags": {"tag": {"key": "a"}},
    "/csbs_backup_policy/{resource_id}/tags": {"tag": {"key": "a"}},
    "/csbs_backup/{resource_id}/tags/action": {"action": "create", "tags": [{"key": "a"}]},
    "/csbs_backup_policy/{resource_id}/tags/action": {"action": "create", "tags": [{"key": "a"}]},
    "/policies/{policy_id}": {"policy": {"name": "stolen"}},
    "/plans/{plan_id}": {"plan": {"name": "stolen"}},
    "/quotas/{tenant_id}": {"quota": {"plans": 0}},
}

#: What is the same for everybody, or is refused before anything is looked up.
_OF_NOBODY = ("{provider_id}", "{resource_type}", "{service_id}", "{name}", "{verification_id}")


def names_an_object(path: str) -> bool:
    rest = path
    for name in _OF_NOBODY:
        rest = rest.replace(name, "")
    return "{" in rest


def call(caller: Caller, method: str, path: str, ids: dict[str, str]) -> Any:
    body = BODIES.get(path, {}) if method in {"POST", "PUT"} else None
    return caller.call(method, filled(path, ids), body)


@pytest.mark.parametrize(
    ("method", "path"), [each for each in routes() if names_an_object(each[1])]
)
def test_an_object_of_another_project_is_not_there(
    lab: CsbsLab, ids: dict[str, str], method: str, path: str
) -> None:
    answer = call(lab.otto, method, path, ids)

    # A server that is not there is 400 in this protocol where it is to be backed up.
    is_server = path.endswith("/resources/{resource_id}/action")
    needs_admin = path == "/quotas/{tenant_id}" and method == "PUT"
    expected = 400 if is_server else 403 if needs_admin else 404
    assert answer.status_code == expected, answer.text
    assert set(answer.json()) == {"error_code", "error_msg"}
    if is_server:
        assert is_error(answer, 400, "CSBS.6000")


#: POSTs that only look.
_LOOKS = ("/resources/action", "/resource_instances/action")


@pytest.mark.parametrize(
    ("method", "path"),
    [each for each in routes() if each[0] != "GET" and not each[1].endswith(_LOOKS)],
)
def test_a_reader_changes_nothing(
    lab: CsbsLab, ids: dict[str, str], method: str, path: str
) -> None:
    assert is_error(call(lab.caller("rita", "local"), method, path, ids), 403, "CSBS.9009")


def test_a_reader_looks(lab: CsbsLab, ids: dict[str, str]) -> None:
    rita = lab.caller("rita", "local")

    assert rita.get(f"/checkpoint_items/{ids['item_id']}").status_code == 200
    question = {"check_protectable": [{"resource_id": WEB, "resource_type": SERVER}]}
    assert rita.post(f"{PROVIDER}/resources/action", question).status_code == 200


def test_lists_have_nothing_of_another_project(lab: CsbsLab, ids: dict[str, str]) -> None:
    assert ids
    for path, key in (
        ("/checkpoint_items", "checkpoint_items"),
        ("/policies", "policies"),
        ("/plans", "plans"),
        ("/restores", "restores"),
        ("/operation_logs", "operation_logs"),
        ("/triggers", "triggers"),
        ("/scheduled_operations", "operations"),
        (f"{PROVIDER}/checkpoints", "checkpoints"),
        (f"/protectables/{SERVER}/instances", "instances"),
        ("/csbs_backup/tags", "tags"),
        ("/csbs_backup_policy/tags", "tags"),
    ):
        assert lab.otto.get(path).json()[key] == []
        assert lab.mia.get(path).json()[key] != []
    assert lab.otto.get("/checkpoint_items/count").json() == {"count": 0}
    resources = lab.otto.get("/quotas").json()["quotas"]["resources"]
    assert [each["used"] for each in resources] == [0, 0]


def test_a_check_says_nothing_of_another_project(lab: CsbsLab, ids: dict[str, str]) -> None:
    target = {"resource_id": WEB, "resource_type": SERVER, "volumes": []}
    protectable = {"check_protectable": [{"resource_id": WEB, "resource_type": SERVER}]}
    restorable = {"check_restorable": [{"checkpoint_item_id": ids["item_id"], "target": target}]}

    (first,) = lab.otto.post(f"{PROVIDER}/resources/action", protectable).json()["protectable"]
    (second,) = lab.otto.post(f"{PROVIDER}/resources/action", restorable).json()["restorable"]

    assert first["error_code"] == "CSBS.6000"
    assert second["error_code"] == "CSBS.3001"


def test_policies_of_two_projects_may_have_one_name(lab: CsbsLab, ids: dict[str, str]) -> None:
    assert ids
    plan = {"name": "nightly", "provider_id": PROVIDER_ID, "parameters": {}, "resources": []}

    made = lab.otto.post("/plans", {"plan": plan})

    assert made.status_code == 200
    lab.otto.delete(f"/plans/{made.json()['plan']['id']}")
