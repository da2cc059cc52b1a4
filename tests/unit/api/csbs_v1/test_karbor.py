"""Karbor's own calls, and what this region has not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import (
    DATABASE,
    PATTERN,
    PROVIDER,
    UNKNOWN,
    WEB,
    CsbsLab,
    is_error,
)

SERVER = "OS::Nova::Server"


def plan(lab: CsbsLab, **changes: Any) -> dict[str, Any]:
    body = {
        "name": "p",
        "description": None,
        "provider_id": PROVIDER_ID,
        "parameters": {"OS::Nova::Server": {"consistency": "os"}},
        "resources": [{"id": WEB, "type": SERVER, "name": "web"}],
    }
    made: dict[str, Any] = lab.mia.post("/plans", {"plan": body | changes}).json()["plan"]
    return made


def test_there_is_one_provider(lab: CsbsLab) -> None:
    (provider,) = lab.mia.get("/providers").json()["providers"]

    assert provider["id"] == PROVIDER_ID
    assert set(provider) == {"id", "name", "description", "extended_info_schema"}
    assert lab.mia.get(PROVIDER).json() == {"provider": provider}
    assert is_error(lab.mia.get(f"/providers/{UNKNOWN}"), 404, "CSBS.3001")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/resources/action"),
        ("POST", f"/resources/{WEB}/action"),
        ("POST", "/checkpoints"),
        ("DELETE", f"/checkpoints/{UNKNOWN}"),
    ],
)
def test_calls_to_another_provider_are_refused_and_never_look_done(
    lab: CsbsLab, method: str, path: str
) -> None:
    answer = lab.mia.call(method, f"/providers/{UNKNOWN}{path}", {})

    assert is_error(answer, 400, "CSBS.9001")


def test_a_plan_is_a_policy(lab: CsbsLab) -> None:
    made = plan(lab)

    shown = lab.mia.get(f"/policies/{made['id']}").json()["policy"]
    assert made["status"] == "suspended"
    assert made["parameters"] == {"OS::Nova::Server": {"consistency": "os"}}
    assert shown["scheduled_operations"] == []
    assert lab.mia.get("/plans").json() == {"plans": [made]}
    changed = lab.mia.put(f"/plans/{made['id']}", {"plan": {"name": "q"}}).json()["plan"]
    assert changed == made | {"name": "q"}
    assert lab.mia.delete(f"/plans/{made['id']}").status_code == 200
    assert is_error(lab.mia.get(f"/plans/{made['id']}"), 404, "CSBS.3000")


def test_checkpoints_are_listed_and_shown(lab: CsbsLab) -> None:
    made = plan(lab)
    run = lab.mia.post(f"{PROVIDER}/checkpoints", {"checkpoint": {"plan_id": made["id"]}})
    lab.finish()
    by_hand = lab.mia.protect(DATABASE).json()["checkpoint"]

    listed = lab.mia.get(f"{PROVIDER}/checkpoints").json()["checkpoints"]
    of_plan = lab.mia.get(f"{PROVIDER}/checkpoints?plan_id={made['id']}").json()["checkpoints"]
    shown = lab.mia.get(f"{PROVIDER}/checkpoints/{by_hand['id']}").json()["checkpoint"]

    assert [each["status"] for each in listed] == ["protecting", "available"]
    assert [each["id"] for each in of_plan] == [run.json()["checkpoint"]["id"]]
    assert of_plan[0]["protection_plan"]["provider_id"] == PROVIDER_ID
    assert json.loads(of_plan[0]["resource_graph"]) == []
    assert shown == by_hand
    assert is_error(lab.mia.get(f"{PROVIDER}/checkpoints/{UNKNOWN}"), 404, "CSBS.3001")


def test_tasks_are_operation_logs(lab: CsbsLab) -> None:
    item = lab.back_up()
    lab.mia.protect(DATABASE)
    lab.fail()
    lab.mia.delete(f"{PROVIDER}/checkpoints/{item['checkpoint_id']}")

    deletion, failed, backup = lab.mia.get("/operation_logs").json()["operation_logs"]

    assert [each["operation_type"] for each in (deletion, failed, backup)] == [
        "delete",
        "protect",
        "protect",
    ]
    assert (deletion["status"], failed["status"], backup["status"]) == (
        "waiting",
        "error",
        "available",
    )
    assert backup["checkpoint_id"] == item["checkpoint_id"]
    assert backup["ended_at"] > backup["started_at"]
    assert json.loads(backup["extra_info"])["checkpoint_item_id"] == item["id"]
    assert json.loads(failed["error_info"]) == {
        "code": "CSBS.9999",
        "message": "A part of the service failed.",
    }
    assert lab.mia.get(f"/operation_logs/{failed['id']}").json() == {"operation_log": failed}
    only = lab.mia.get("/operation_logs?operation_type=delete").json()["operation_logs"]
    assert [each["id"] for each in only] == [deletion["id"]]
    assert is_error(lab.mia.get(f"/operation_logs/{UNKNOWN}"), 404, "CSBS.6040")


def test_servers_are_instances_whose_disks_keep_their_ids(lab: CsbsLab) -> None:
    instances = lab.mia.get(f"/protectables/{SERVER}/instances").json()["instances"]
    item = lab.back_up(WEB)

    by_id = {each["id"]: each for each in instances}
    disks = by_id[WEB]["dependent_resources"]
    volumes = item["extend_info"]["volume_backups"]
    assert lab.mia.get("/protectables").json() == {"protectable_type": [SERVER]}
    assert lab.mia.get(f"/protectables/{SERVER}").json()["protectable_type"]["name"] == SERVER
    assert set(by_id) == {WEB, DATABASE}
    assert [each["id"] for each in disks] == [each["source_volume_id"] for each in volumes]
    shown = lab.mia.get(f"/protectables/{SERVER}/instances/{WEB}").json()["instance"]
    assert shown["dependent_resources"] == disks
    path = f"/protectables/{SERVER}/instances"
    assert is_error(lab.mia.get(f"{path}/{UNKNOWN}"), 404, "CSBS.6000")
    assert is_error(lab.mia.get("/protectables/OS::Cinder::Volume"), 404, "CSBS.3001")
    by_name = lab.mia.get(f"{path}?name=web&sort=name:asc").json()["instances"]
    assert [each["id"] for each in by_name] == [WEB]


def test_triggers_and_operations_are_looked_at_with_their_policies(lab: CsbsLab) -> None:
    operation = {
        "name": "s1",
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {"max_backups": 3},
        "trigger": {"properties": {"pattern": PATTERN}},
    }
    policy = {
        "name": "nightly",
        "provider_id": PROVIDER_ID,
        "parameters": {},
        "resources": [],
        "scheduled_operations": [operation],
    }
    made = lab.mia.post("/policies", {"policy": policy}).json()["policy"]
    schedule = made["scheduled_operations"][0]

    (trigger,) = lab.mia.get("/triggers").json()["triggers"]
    (listed,) = lab.mia.get("/scheduled_operations").json()["operations"]

    assert trigger == schedule["trigger"]
    assert listed == schedule
    trigger_path = f"/triggers/{trigger['id']}"
    operation_path = f"/scheduled_operations/{schedule['id']}"
    assert lab.mia.get(trigger_path).json() == {"trigger_info": trigger}
    assert lab.mia.get(operation_path).json() == {"scheduled_operation": schedule}
    for answer in (
        lab.mia.post("/triggers", {"trigger_info": {}}),
        lab.mia.put(trigger_path, {"trigger_info": {}}),
        lab.mia.delete(trigger_path),
        lab.mia.post("/scheduled_operations", {"scheduled_operation": {}}),
        lab.mia.delete(operation_path),
    ):
        assert is_error(answer, 500, "CSBS.9998")
    assert is_error(lab.mia.get(f"/triggers/{UNKNOWN}"), 404, "CSBS.3001")
    assert is_error(lab.mia.delete(f"/scheduled_operations/{UNKNOWN}"), 404, "CSBS.3001")


def test_there_are_no_verifications(lab: CsbsLab) -> None:
    assert lab.mia.get("/verifications").json() == {"verifications": []}
    assert is_error(lab.mia.get(f"/verifications/{UNKNOWN}"), 404, "CSBS.3001")
    assert is_error(lab.mia.post("/verifications", {}), 500, "CSBS.9998")


def test_services_are_for_administrators(lab: CsbsLab) -> None:
    (service,) = lab.admin().get("/os-services").json()["services"]

    assert (service["status"], service["state"]) == ("enabled", "up")
    assert is_error(lab.mia.get("/os-services"), 403, "CSBS.9009")
    assert is_error(lab.admin().put("/os-services/1", {}), 500, "CSBS.9998")


def test_states_are_not_set_and_runs_not_copied(lab: CsbsLab) -> None:
    item = lab.back_up()
    path = f"{PROVIDER}/checkpoints"

    reset = lab.mia.put(f"{path}/{item['checkpoint_id']}", {"os-resetState": {"state": "error"}})
    copied = lab.mia.post(f"{path}/action", {"copy": {"plan_id": UNKNOWN}})

    assert is_error(reset, 500, "CSBS.9998")
    assert is_error(copied, 500, "CSBS.9998")


def test_there_is_no_other_region(lab: CsbsLab) -> None:
    item = lab.back_up()

    assert lab.mia.get("/replication_capabilities").json() == {"regions": []}
    assert lab.mia.get("/replication_records").json() == {"count": 0, "replication_records": []}
    one = lab.mia.post(f"{PROVIDER}/checkpoint_items/{item['id']}/replicate", {})
    all_of_policy = lab.mia.post(f"{PROVIDER}/checkpoints/replicate", {})
    unknown = lab.mia.post(f"{PROVIDER}/checkpoint_items/{UNKNOWN}/replicate", {})
    assert is_error(one, 500, "CSBS.9998")
    assert is_error(all_of_policy, 500, "CSBS.9998")
    assert is_error(unknown, 404, "CSBS.3001")


def test_there_is_no_dedicated_cloud(lab: CsbsLab) -> None:
    config = lab.mia.get("/protect_config?dec_project_id=x").json()["protect_config"]

    assert config["dec_enable"] is False
    assert (config["dec_capacity"], config["dec_used_capacity"]) == (0, 0)
    assert lab.mia.get("/protection_capabilities").status_code == 200
