"""Quotas: shown, set, held."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import (
    DATABASE,
    PROVIDER,
    UNKNOWN,
    WEB,
    CsbsLab,
    is_error,
)


def limit(lab: CsbsLab, **quota: int) -> None:
    answer = lab.admin().put(f"/quotas/{lab.project_id}", {"quota": quota})
    assert answer.status_code == 200, answer.text


def shown(lab: CsbsLab) -> dict[str, tuple[int, int]]:
    resources = lab.mia.get("/quotas").json()["quotas"]["resources"]
    return {each["type"]: (each["quota"], each["used"]) for each in resources}


def test_there_is_no_limit_at_first_and_use_is_counted(lab: CsbsLab) -> None:
    before = shown(lab)
    lab.back_up()

    assert before == {"backup_capacity": (-1, 0), "backups": (-1, 0)}
    assert shown(lab) == {"backup_capacity": (-1, 1), "backups": (-1, 1)}
    assert lab.mia.get("/quotas").json()["quotas"]["resources"][0]["unit"] == "GB"


def test_a_backup_that_is_being_deleted_counts_in_nothing(lab: CsbsLab) -> None:
    item = lab.back_up()
    lab.mia.delete(f"{PROVIDER}/checkpoints/{item['checkpoint_id']}")

    assert shown(lab) == {"backup_capacity": (-1, 0), "backups": (-1, 0)}


def test_no_more_backups_than_the_quota(lab: CsbsLab) -> None:
    limit(lab, backups=1)
    lab.back_up(WEB)

    refused = lab.mia.protect(DATABASE)

    assert is_error(refused, 400, "CSBS.9006")
    assert shown(lab)["backups"] == (1, 1)
    assert lab.runner.held == []


def test_no_more_space_than_the_quota(lab: CsbsLab) -> None:
    limit(lab, backup_capacity=0)

    assert is_error(lab.mia.protect(WEB), 400, "CSBS.9006")


def test_a_run_needs_room_for_all_its_servers(lab: CsbsLab) -> None:
    limit(lab, backups=1)
    both = [{"id": each, "type": "OS::Nova::Server", "name": "x"} for each in (WEB, DATABASE)]
    plan = {"name": "p", "provider_id": PROVIDER_ID, "parameters": {}, "resources": both}
    policy = lab.mia.post("/plans", {"plan": plan}).json()["plan"]

    refused = lab.mia.post(f"{PROVIDER}/checkpoints", {"checkpoint": {"plan_id": policy["id"]}})

    assert is_error(refused, 400, "CSBS.9006")
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 0}


def test_quotas_in_the_way_of_karbor(lab: CsbsLab) -> None:
    limit(lab, plans=5, checkpoints=7, backup_capacity=100)
    lab.back_up()
    path = f"/quotas/{lab.project_id}"

    detail = lab.mia.get(f"{path}/detail").json()["quota"]

    assert lab.mia.get(path).json() == {
        "quota": {"id": lab.project_id, "plans": 5, "checkpoints": 7, "backup_capacity": 100}
    }
    assert lab.mia.get(f"{path}/defaults").json()["quota"]["plans"] == 32
    assert detail["checkpoints"] == {"limit": 7, "in_use": 1, "reserved": 0}
    assert lab.mia.get("/quota_classes/default").json()["quota_class"]["plans"] == 32


def test_a_limit_is_taken_away_again(lab: CsbsLab) -> None:
    limit(lab, backups=0)
    limit(lab, backups=-1)

    assert lab.mia.protect(WEB).status_code == 200


@pytest.mark.parametrize(
    "quota", [{"backups": -2}, {"backups": "many"}, {"backups": 2**53}, {"backup_capacity": -7}]
)
def test_a_limit_that_makes_no_sense_is_refused(lab: CsbsLab, quota: Any) -> None:
    answer = lab.admin().put(f"/quotas/{lab.project_id}", {"quota": quota})

    assert is_error(answer, 400, "CSBS.9001")


def test_only_an_administrator_sets_quotas(lab: CsbsLab) -> None:
    answer = lab.mia.put(f"/quotas/{lab.project_id}", {"quota": {"backups": -1}})

    assert is_error(answer, 403, "CSBS.9009")


def test_quotas_of_another_project_are_not_there(lab: CsbsLab) -> None:
    other = lab.region.projects.find("local_other").id

    assert is_error(lab.mia.get(f"/quotas/{other}"), 404, "CSBS.3001")
    assert is_error(lab.mia.get(f"/quotas/{other}/detail"), 404, "CSBS.3001")
    assert is_error(lab.mia.get(f"/quota_classes/{UNKNOWN}"), 404, "CSBS.3001")
