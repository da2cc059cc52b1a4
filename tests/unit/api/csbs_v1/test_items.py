"""Backups as clients of CSBS see them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from csbs.catalog import backups, tasks
from csbs.domain.backup import BackupState
from tests.unit.api.csbs_v1.lab import DATABASE, PROVIDER, UNKNOWN, WEB, CsbsLab, is_error

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def test_a_new_backup_is_protecting_at_once_and_is_listed_by_its_run(lab: CsbsLab) -> None:
    answer = lab.mia.protect(WEB, backup_name="before-upgrade", description="by hand")

    checkpoint = answer.json()["checkpoint"]
    listed = lab.mia.get(f"/checkpoint_items?checkpoint_id={checkpoint['id']}").json()
    (item,) = listed["checkpoint_items"]
    assert answer.status_code == 200
    assert (item["status"], item["name"], item["description"]) == (
        "protecting",
        "before-upgrade",
        "by hand",
    )
    assert item["extend_info"]["progress"] == 0


def test_the_answer_to_protect_has_a_plan_that_is_made_up(lab: CsbsLab) -> None:
    checkpoint = lab.mia.protect(WEB).json()["checkpoint"]

    plan = checkpoint["protection_plan"]
    assert checkpoint["status"] == "protecting"
    assert checkpoint["project_id"] == lab.project_id
    assert checkpoint["resource_graph"] == "[]"
    assert checkpoint["extra_info"] == '{"created_by": "manual"}'
    assert plan["id"].startswith("fake_")
    assert plan["name"] == f"server protect plan for {WEB}"
    assert plan["resources"] == [
        {"id": WEB, "type": "OS::Nova::Server", "name": "web", "extra_info": {}}
    ]


def test_an_available_backup_has_the_whole_shape(lab: CsbsLab) -> None:
    item = lab.back_up(WEB, backup_name="b1", tags=[{"key": "env", "value": "test"}])

    assert lab.mia.get(f"/checkpoint_items/{item['id']}").json() == {"checkpoint_item": item}
    assert item["status"] == "available"
    assert item["resource_id"] == WEB
    assert item["resource_type"] == "OS::Nova::Server"
    assert item["tags"] == [{"key": "env", "value": "test"}]
    assert item["expired_at"] is None
    assert "replication_records" not in item
    info = item["extend_info"]
    assert info["progress"] == 100
    assert info["fail_code"] == {}
    assert (info["fail_op"], info["fail_reason"]) == ("", "")
    assert info["copy_status"] == "na"
    assert info["image_type"] == "backup"
    assert info["hypervisor_type"] == "QEMU"
    assert info["supported_restore_mode"] == "backup"
    assert info["resource_az"] == "local"
    assert info["os_images_data"] == []


def test_sizes_are_whole_numbers_rounded_up(lab: CsbsLab) -> None:
    info = lab.back_up()["extend_info"]

    # Two disks, each with 3 MiB and a byte: 6 MiB and two bytes in all.
    assert info["size"] == 7
    assert [each["size"] for each in info["volume_backups"]] == [4, 4]
    assert [each["source_volume_size"] for each in info["volume_backups"]] == [1, 1]
    assert info["average_speed"] == 200 * 1024 // 10
    numbers = ("size", "average_speed", "space_saving_ratio", "progress")
    assert all(type(info[name]) is int for name in numbers)


def test_types_are_those_that_strict_clients_want(lab: CsbsLab) -> None:
    item = lab.back_up()

    data, info = item["backup_data"], item["extend_info"]
    assert all(type(data[name]) is int for name in ("ram", "vcpus", "disk"))
    assert (data["ram"], data["vcpus"]) == (4096, 2)
    assert all(type(info[name]) is bool for name in ("auto_trigger", "incremental", "support_lld"))
    for part in info["volume_backups"]:
        assert all(type(part[name]) is bool for name in ("bootable", "incremental"))
        assert all(
            type(part[name]) is int
            for name in ("size", "source_volume_size", "space_saving_ratio", "average_speed")
        )


def test_times_have_microseconds_and_no_zone(lab: CsbsLab) -> None:
    item = lab.back_up()

    for name in ("created_at", "updated_at", "protected_at"):
        assert _TIME.fullmatch(item[name])
    assert _TIME.fullmatch(item["extend_info"]["finished_at"])


def test_a_disk_backup_has_an_id_of_its_own_that_stays(lab: CsbsLab) -> None:
    item = lab.back_up(backup_name="b1")

    system, data = item["extend_info"]["volume_backups"]
    again = lab.mia.get(f"/checkpoint_items/{item['id']}").json()["checkpoint_item"]
    assert system["id"] != data["id"]
    assert (system["name"], system["bootable"], data["bootable"]) == ("b1_vda", True, False)
    assert again["extend_info"]["volume_backups"] == [system, data]
    assert len({system["source_volume_id"], data["source_volume_id"]}) == 2


def test_the_first_backup_is_full_and_later_ones_are_incremental(lab: CsbsLab) -> None:
    first, second = lab.back_up(), lab.back_up()

    assert first["extend_info"]["incremental"] is False
    assert second["extend_info"]["incremental"] is True


@pytest.mark.parametrize("name", ["-", "-nightly_2", "--all", "\u6bcf\u591c", "x" * 255])
def test_a_name_may_begin_with_anything_that_it_may_have(lab: CsbsLab, name: str) -> None:
    assert lab.back_up(backup_name=name)["name"] == name


def test_a_failed_backup_says_what_failed_and_why(lab: CsbsLab) -> None:
    lab.mia.protect(WEB)
    lab.fail()

    (item,) = lab.mia.get("/checkpoint_items").json()["checkpoint_items"]
    info = item["extend_info"]
    assert item["status"] == "error"
    assert info["fail_op"] == "backup"
    # A tenant reads no words of drivers, programs or folders.
    assert info["fail_reason"] == "A part of the service failed."
    assert info["fail_code"] == {"Code": "CSBS.9999", "Description": info["fail_reason"]}
    assert type(info["fail_code"]["Code"]) is str


def test_a_deleted_backup_is_deleting_at_once_and_then_not_found(lab: CsbsLab) -> None:
    item = lab.back_up()
    path = f"{PROVIDER}/checkpoints/{item['checkpoint_id']}"

    first, again = lab.mia.delete(path), lab.mia.delete(path)
    shown = lab.mia.get(f"/checkpoint_items/{item['id']}").json()["checkpoint_item"]
    lab.finish()

    assert (first.status_code, first.json(), again.status_code) == (200, {}, 200)
    assert shown["status"] == "deleting"
    assert is_error(lab.mia.delete(path), 404, "CSBS.3001")
    assert is_error(lab.mia.get(f"/checkpoint_items/{item['id']}"), 404, "CSBS.3001")


def test_a_failed_deletion_can_be_repeated(lab: CsbsLab) -> None:
    item = lab.back_up()
    path = f"{PROVIDER}/checkpoints/{item['checkpoint_id']}"
    lab.mia.delete(path)
    lab.fail()

    failed = lab.mia.get(f"/checkpoint_items/{item['id']}").json()["checkpoint_item"]
    again = lab.mia.delete(path)
    lab.finish()

    assert (failed["status"], failed["extend_info"]["fail_op"]) == ("error", "delete")
    assert again.status_code == 200
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 0}


def test_some_backups_of_a_run_are_deleted_by_name(lab: CsbsLab) -> None:
    item = lab.back_up()
    path = f"{PROVIDER}/checkpoints/{item['checkpoint_id']}"

    foreign = lab.mia.delete(f"{path}?checkpoint_items={UNKNOWN}")
    own = lab.mia.delete(f"{path}?checkpoint_items={item['id']}")

    assert is_error(foreign, 404, "CSBS.3001")
    assert own.status_code == 200


def test_a_backup_that_is_being_made_or_restored_is_not_deleted(lab: CsbsLab) -> None:
    made = lab.mia.protect(WEB).json()["checkpoint"]
    while_made = lab.mia.delete(f"{PROVIDER}/checkpoints/{made['id']}")
    lab.finish()
    lab.mia.post("/restores", restore_of(lab, made["id"]))

    while_restored = lab.mia.delete(f"{PROVIDER}/checkpoints/{made['id']}")

    assert is_error(while_made, 400, "CSBS.2003")
    assert is_error(while_restored, 400, "CSBS.2003")


def restore_of(lab: CsbsLab, checkpoint_id: str) -> dict[str, Any]:
    (item,) = lab.mia.get(f"/checkpoint_items?checkpoint_id={checkpoint_id}").json()[
        "checkpoint_items"
    ]
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    return {
        "restore": {
            "provider_id": PROVIDER.removeprefix("/providers/"),
            "checkpoint_id": checkpoint_id,
            "parameters": {
                "checkpoint_item_id": item["id"],
                "power_on": True,
                "targets": {"server_id": WEB, "volumes": volumes},
            },
        }
    }


def test_disks_can_be_left_out(lab: CsbsLab) -> None:
    first = lab.back_up(DATABASE)
    left_out = first["extend_info"]["volume_backups"][1]["source_volume_id"]

    item = lab.back_up(DATABASE, extra_info={"exclude_volumes": [left_out]})

    assert [each["source_volume_name"] for each in item["extend_info"]["volume_backups"]] == ["vda"]


def test_a_backup_is_available_when_its_task_has_ended_and_not_before(lab: CsbsLab) -> None:
    made = lab.mia.protect(WEB).json()["checkpoint"]
    (task,) = lab.runner.held
    catalog = lab.catalog
    with catalog.transaction() as transaction:  # committed, and the task goes on for a moment
        tasks.begin(transaction, task.project_id, task.id, at=task.created_at)
        backups.set_state(transaction, task.project_id, task.backup_id, BackupState.AVAILABLE)

    item = lab.mia.get(f"/checkpoint_items/{made['id']}").json()["checkpoint_item"]
    listed = lab.mia.get("/checkpoint_items?status=protecting").json()["checkpoint_items"]
    record = lab.mia.get(f"{PROVIDER}/checkpoints/{made['id']}").json()["checkpoint"]

    assert (item["status"], record["status"]) == ("protecting", "protecting")
    assert [each["id"] for each in listed] == [item["id"]]
    assert is_error(lab.mia.delete(f"{PROVIDER}/checkpoints/{made['id']}"), 400, "CSBS.2003")
