"""Can it be backed up, can it be restored: asked before the fact, and refused in the same words."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.catalog import servers
from csbs.catalog.servers import UnfinishedRestore
from csbs.domain.consistency import ConsistencyNotReached
from csbs.domain.errors import HypervisorUnavailable
from csbs.domain.ids import BackupId, ServerId
from csbs.domain.server import ServerRef, ServerState
from csbs.repository.errors import CorruptObject
from csbs.testing.still_driver import GIB, still_disk
from tests.unit.api.csbs_v1.lab import (
    DATABASE,
    PATTERN,
    PROVIDER,
    UNKNOWN,
    WEB,
    CsbsLab,
    is_error,
)

ACTION = f"{PROVIDER}/resources/action"
SERVER = "OS::Nova::Server"


def ask(lab: CsbsLab, *servers: str, kind: str = SERVER) -> list[dict[str, Any]]:
    body = {"check_protectable": [{"resource_id": each, "resource_type": kind} for each in servers]}
    answers: list[dict[str, Any]] = lab.mia.post(ACTION, body).json()["protectable"]
    return answers


def test_a_server_that_can_be_backed_up(lab: CsbsLab) -> None:
    assert ask(lab, WEB) == [
        {
            "result": True,
            "resource_type": SERVER,
            "resource_id": WEB,
            "error_code": "",
            "error_msg": "",
        }
    ]


def test_there_is_one_answer_for_each_question_in_their_order(lab: CsbsLab) -> None:
    answers = ask(lab, UNKNOWN, WEB, UNKNOWN)

    assert [each["result"] for each in answers] == [False, True, False]
    assert [each["resource_id"] for each in answers] == [UNKNOWN, WEB, UNKNOWN]


def test_a_server_of_a_policy_can_be_backed_up_and_the_answer_says_which(lab: CsbsLab) -> None:
    policy = lab.mia.post("/policies", policy_of(WEB)).json()["policy"]

    (answer,) = ask(lab, WEB)

    assert answer["result"] is True
    assert policy["id"] in answer["error_msg"]


def policy_of(*servers: str) -> dict[str, Any]:
    return {
        "policy": {
            "name": "nightly",
            "provider_id": PROVIDER_ID,
            "parameters": {"common": {}},
            "resources": [{"id": each, "type": SERVER, "name": "x"} for each in servers],
            "scheduled_operations": [
                {
                    "enabled": True,
                    "operation_type": "backup",
                    "operation_definition": {"max_backups": 20, "permanent": False},
                    "trigger": {"properties": {"pattern": PATTERN}},
                }
            ],
        }
    }


def no_disks(lab: CsbsLab) -> None:
    lab.driver.change(WEB, disks=())


def a_shared_disk(lab: CsbsLab) -> None:
    lab.driver.change(WEB, disks=(still_disk("vda", "web", shared=True),))


def a_crash(lab: CsbsLab) -> None:
    lab.driver.change(WEB, state=ServerState.CRASHED)


def a_backup_under_way(lab: CsbsLab) -> None:
    lab.mia.protect(WEB)


def it_vanished(lab: CsbsLab) -> None:
    lab.driver.servers.clear()


def half_restored(lab: CsbsLab) -> None:
    item, project_id, catalog = lab.back_up(), lab.project_id, lab.catalog
    with catalog.transaction() as transaction:
        servers.begin_restore(
            transaction,
            project_id,
            ServerId(WEB),
            UnfinishedRestore(backup_id=BackupId(item["id"]), autostart=False),
        )


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (half_restored, "CSBS.6015"),
        (no_disks, "CSBS.6007"),
        (a_shared_disk, "CSBS.6010"),
        (a_crash, "CSBS.6005"),
        (a_backup_under_way, "CSBS.6005"),
        (it_vanished, "CSBS.6000"),
    ],
)
def test_a_server_that_cannot_be_backed_up_is_answered_and_refused_alike(
    lab: CsbsLab, happens: Any, code: str
) -> None:
    happens(lab)

    (answer,) = ask(lab, WEB)

    assert (answer["result"], answer["error_code"]) == (False, code)
    assert is_error(lab.mia.protect(WEB), 400, code)


@pytest.mark.parametrize("kind", ["OS::Ironic::BareMetalServer", "OS::Cinder::Volume", "x"])
def test_other_types_cannot_be_backed_up(lab: CsbsLab, kind: str) -> None:
    (answer,) = ask(lab, WEB, kind=kind)

    assert (answer["result"], answer["error_code"]) == (False, "CSBS.6003")


def test_a_bare_metal_server_is_not_protected(lab: CsbsLab) -> None:
    answer = lab.mia.protect(WEB, resource_type="OS::Ironic::BareMetalServer")

    assert is_error(answer, 400, "CSBS.6003")


@pytest.mark.parametrize(
    "body", [{}, {"check_protectable": None}, {"check_protectable": [], "check_restorable": []}]
)
def test_a_body_asks_one_of_the_two(lab: CsbsLab, body: dict[str, Any]) -> None:
    assert is_error(lab.mia.post(ACTION, body), 400, "CSBS.9001")


# --- restores ---------------------------------------------------------------------------------


def volumes_of(item: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]


def restore(lab: CsbsLab, item: dict[str, Any], **changes: Any) -> Any:
    """The answer to the question, and to the restore itself."""
    volumes = changes.get("volumes", volumes_of(item))
    server, item_id = changes.get("server", WEB), changes.get("item_id", item["id"])
    target = {"resource_id": server, "resource_type": SERVER, "volumes": volumes}
    question = {"check_restorable": [{"checkpoint_item_id": item_id, "target": target}]}
    parameters = {
        "checkpoint_item_id": item_id,
        "power_on": False,
        "targets": {"server_id": server, "volumes": volumes},
    }
    wanted = {
        "provider_id": PROVIDER_ID,
        "checkpoint_id": item["checkpoint_id"],
        "parameters": parameters,
    }
    (asked,) = lab.mia.post(ACTION, question).json()["restorable"]
    return asked, lab.mia.post("/restores", {"restore": wanted})


def test_a_backup_is_restored_to_its_server(lab: CsbsLab) -> None:
    item = lab.back_up()

    asked, done = restore(lab, item)

    body = done.json()["restore"]
    shown = lab.mia.get(f"/checkpoint_items/{item['id']}").json()["checkpoint_item"]
    assert asked["result"] is True
    assert done.status_code == 200
    assert body["status"] == "in_progress"
    assert body["checkpoint_id"] == item["checkpoint_id"]
    assert body["parameters"]["checkpoint_item_id"] == item["id"]
    assert body["restore_target"] == ""
    assert shown["status"] == "restoring"
    assert lab.runner.held[0].request["power_on"] is False

    lab.finish()
    shown = lab.mia.get(f"/checkpoint_items/{item['id']}").json()["checkpoint_item"]
    assert shown["status"] == "available"


def test_a_restore_is_shown_and_listed(lab: CsbsLab) -> None:
    item = lab.back_up()
    _, done = restore(lab, item)
    lab.finish()

    body = done.json()["restore"]
    shown = lab.mia.get(f"/restores/{body['id']}").json()["restore"]
    listed = lab.mia.get("/restores").json()["restores"]
    assert (shown["status"], shown["checkpoint_id"]) == ("success", item["checkpoint_id"])
    assert [each["id"] for each in listed] == [body["id"]]
    assert is_error(lab.mia.get(f"/restores/{UNKNOWN}"), 404, "CSBS.6040")


def test_a_restore_without_parameters_restores_the_run_in_place(lab: CsbsLab) -> None:
    item = lab.back_up()
    wanted = {
        "provider_id": PROVIDER_ID,
        "checkpoint_id": item["checkpoint_id"],
        "restore_target": None,
        "restore_auth": None,
        "parameters": {},
    }

    answer = lab.mia.post("/restores", {"restore": wanted})

    assert answer.status_code == 200
    assert lab.runner.held[0].request["power_on"] is True


def another_server(_lab: CsbsLab, _item: Any) -> dict[str, Any]:
    return {"server": DATABASE}


def no_server(_lab: CsbsLab, _item: Any) -> dict[str, Any]:
    return {"server": UNKNOWN}


def a_foreign_part(_lab: CsbsLab, item: Any) -> dict[str, Any]:
    first, second = volumes_of(item)
    return {"volumes": [first, second | {"backup_id": UNKNOWN}]}


def a_foreign_disk(_lab: CsbsLab, item: Any) -> dict[str, Any]:
    first, second = volumes_of(item)
    return {"volumes": [first, second | {"volume_id": UNKNOWN}]}


def one_disk_less(_lab: CsbsLab, item: Any) -> dict[str, Any]:
    return {"volumes": volumes_of(item)[:1]}


def no_disk(_lab: CsbsLab, _item: Any) -> dict[str, Any]:
    return {"volumes": []}


def swapped_disks(_lab: CsbsLab, item: Any) -> dict[str, Any]:
    first, second = volumes_of(item)
    swapped = [
        second | {"volume_id": first["volume_id"]},
        first | {"volume_id": second["volume_id"]},
    ]
    return {"volumes": swapped}


def system_to_data(_lab: CsbsLab, item: Any) -> dict[str, Any]:
    first, second = volumes_of(item)
    swapped = [
        first | {"volume_id": second["volume_id"]},
        second | {"volume_id": first["volume_id"]},
    ]
    return {"volumes": swapped}


def a_smaller_disk(lab: CsbsLab, _item: Any) -> dict[str, Any]:
    small = still_disk("vdb", "web", size_bytes=GIB // 2)
    lab.driver.change(WEB, disks=(still_disk("vda", "web", bootable=True), small))
    return {}


def a_disk_that_is_shared_now(lab: CsbsLab, _item: Any) -> dict[str, Any]:
    shared = still_disk("vdb", "web", shared=True)
    lab.driver.change(WEB, disks=(still_disk("vda", "web", bootable=True), shared))
    return {}


def other_disks(lab: CsbsLab, _item: Any) -> dict[str, Any]:
    lab.driver.change(WEB, disks=(still_disk("vdx", "another"),))
    return {}


def a_backup_beside(lab: CsbsLab, _item: Any) -> dict[str, Any]:
    lab.mia.protect(WEB)
    return {}


@pytest.mark.parametrize(
    ("happens", "status", "code"),
    [
        (another_server, 400, "CSBS.6016"),
        (no_server, 400, "CSBS.6000"),
        (a_foreign_part, 400, "CSBS.6017"),
        (a_foreign_disk, 400, "CSBS.6014"),
        (one_disk_less, 400, "CSBS.6018"),
        (no_disk, 400, "CSBS.6018"),
        (swapped_disks, 500, "CSBS.6023"),
        (system_to_data, 500, "CSBS.9998"),
        (a_smaller_disk, 400, "CSBS.6024"),
        (a_disk_that_is_shared_now, 400, "CSBS.6021"),
        (other_disks, 400, "CSBS.6014"),
        (a_backup_beside, 400, "CSBS.6005"),
    ],
)
def test_a_restore_that_cannot_be_is_answered_and_refused_alike(
    lab: CsbsLab, happens: Any, status: int, code: str
) -> None:
    item = lab.back_up()

    asked, done = restore(lab, item, **happens(lab, item))

    assert (asked["result"], asked["error_code"]) == (False, code)
    assert is_error(done, status, code)


def test_a_backup_that_is_not_available_is_not_restored(lab: CsbsLab) -> None:
    item = lab.back_up()
    lab.mia.protect(WEB)
    lab.fail()
    failed = lab.mia.get("/checkpoint_items?status=error").json()["checkpoint_items"][0]

    asked, done = restore(lab, failed, volumes=volumes_of(item))

    assert (asked["result"], asked["error_code"]) == (False, "CSBS.4000")
    assert is_error(done, 400, "CSBS.4000")


def test_a_backup_that_is_not_there_is_not_restored(lab: CsbsLab) -> None:
    item = lab.back_up()

    asked, done = restore(lab, item, item_id=UNKNOWN)

    assert asked["error_code"] == "CSBS.3001"
    assert is_error(done, 404, "CSBS.3001")


def test_nothing_is_restored_to_bare_metal(lab: CsbsLab) -> None:
    item = lab.back_up()
    kind = "OS::Ironic::BareMetalServer"
    target = {"resource_id": WEB, "resource_type": kind, "volumes": volumes_of(item)}
    body = {"check_restorable": [{"checkpoint_item_id": item["id"], "target": target}]}

    (asked,) = lab.mia.post(ACTION, body).json()["restorable"]

    assert (asked["result"], asked["error_code"]) == (False, "CSBS.6013")


def test_a_host_that_does_not_answer_is_no_fault_of_the_request(lab: CsbsLab) -> None:
    def fails() -> list[ServerRef]:
        raise HypervisorUnavailable("qemu:///secret", "connection refused")

    lab.driver.fails = fails

    answer = lab.mia.protect(WEB)

    assert is_error(answer, 503, "CSBS.9999")
    assert "secret" not in answer.text


def test_a_fault_of_the_service_says_nothing_but_that(lab: CsbsLab) -> None:
    def fails() -> list[ServerRef]:
        raise CorruptObject("packs/secret", "a pack", "nothing")

    lab.driver.fails = fails

    assert is_error(lab.mia.protect(WEB), 500, "CSBS.9999")


def test_a_consistency_that_was_not_reached_has_a_code_of_its_own(lab: CsbsLab) -> None:
    lab.mia.protect(WEB, app_consistency=1)
    lab.finish(ConsistencyNotReached("web", "application", "no hooks"))

    (item,) = lab.mia.get("/checkpoint_items").json()["checkpoint_items"]

    assert item["status"] == "error"
    assert item["extend_info"]["fail_code"]["Code"] == "CSBS.6006"
    assert item["extend_info"]["consistency_asked"] == "application"
