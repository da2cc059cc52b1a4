"""`all_tenants`: an administrator sees the objects of all projects, everybody else his own."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.testing.still_driver import StillDriver
from tests.unit.api.csbs_v1.lab import (
    UNKNOWN,
    WEB,
    Caller,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)

FOREIGN = "33333333-3333-4333-8333-333333333333"


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    """One backup and one policy of each project, of the same names."""
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        add_foreign_server(made, made.driver)
        for caller, server in ((made.mia, WEB), (made.otto, FOREIGN)):
            tags = [{"key": "of", "value": server[0]}]
            assert caller.protect(server, backup_name="same", tags=tags).status_code == 200
            plan = {
                "name": "nightly",
                "provider_id": PROVIDER_ID,
                "parameters": {},
                "resources": [{"id": server}],
            }
            made_plan = caller.post("/plans", {"plan": plan}).json()["plan"]
            body = {"tag": {"key": "of", "value": server[0]}}
            caller.post(f"/csbs_backup_policy/{made_plan['id']}/tags", body)
        yield made


def add_foreign_server(lab: CsbsLab, driver: StillDriver) -> None:
    driver.add_server(FOREIGN, "foreign")
    lab.region.assignments.assign("foreign", "local_other")


def servers(caller: Caller, query: str = "all_tenants=true") -> list[str]:
    answer = caller.get(f"/checkpoint_items?{query}")
    assert answer.status_code == 200, answer.text
    return [each["resource_id"] for each in answer.json()["checkpoint_items"]]


@pytest.mark.parametrize("word", ["true", "True", "1"])
def test_an_administrator_sees_the_backups_of_all_projects(lab: CsbsLab, word: str) -> None:
    admin = lab.admin()

    assert servers(admin, f"all_tenants={word}") == [FOREIGN, WEB]
    assert admin.get(f"/checkpoint_items/count?all_tenants={word}").json() == {"count": 2}
    first, second = admin.get(f"/checkpoint_items?all_tenants={word}").json()["checkpoint_items"]
    assert first["tags"] == [{"key": "of", "value": "3"}]
    assert second["tags"] == [{"key": "of", "value": "1"}]
    assert first["extend_info"]["taskid"] != second["extend_info"]["taskid"] != ""


def test_without_it_an_administrator_sees_the_project(lab: CsbsLab) -> None:
    admin = lab.admin()

    assert servers(admin, "") == servers(admin, "all_tenants=false") == [WEB]
    assert admin.get("/checkpoint_items/count").json() == {"count": 1}


@pytest.mark.parametrize("name", ["mia", "rita"])
def test_to_others_it_says_nothing(lab: CsbsLab, name: str) -> None:
    caller = lab.caller(name, "local")

    assert servers(caller) == [WEB]
    assert servers(lab.otto) == [FOREIGN]
    assert caller.get("/checkpoint_items/count?all_tenants=1").json() == {"count": 1}
    for path, key in (("/policies", "policies"), ("/plans", "plans")):
        assert len(caller.get(f"{path}?all_tenants=1").json()[key]) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=same", [FOREIGN, WEB]),
        ("status=protecting", [FOREIGN, WEB]),
        ("status=available", []),
        (f"resource_id={WEB}", [WEB]),
        ("resource_name=foreign", [FOREIGN]),
        ("sort=created_at:asc", [WEB, FOREIGN]),
        ("sort=status,updated_at:asc", [WEB, FOREIGN]),
        ("offset=1", [WEB]),
    ],
)
def test_filters_and_sorting_hold_over_all(lab: CsbsLab, query: str, found: list[str]) -> None:
    assert servers(lab.admin(), f"all_tenants=1&{query}") == found


def test_pages_go_over_all(lab: CsbsLab) -> None:
    admin = lab.admin()
    first = admin.get("/checkpoint_items?all_tenants=1&limit=1").json()
    link = urlsplit(first["checkpoint_items_links"][0]["href"])
    second = admin.client.get(f"{link.path}?{link.query}", headers=admin.headers).json()

    shown = [*first["checkpoint_items"], *second["checkpoint_items"]]
    assert [each["resource_id"] for each in shown] == [FOREIGN, WEB]
    assert "checkpoint_items_links" not in second
    unknown = admin.get(f"/checkpoint_items?all_tenants=1&marker={UNKNOWN}")
    assert is_error(unknown, 400, "CSBS.9001")
    marker = first["checkpoint_items"][0]["id"]
    assert is_error(
        lab.mia.get(f"/checkpoint_items?all_tenants=1&marker={marker}"), 400, "CSBS.9001"
    )


def test_an_administrator_sees_the_policies_of_all_projects(lab: CsbsLab) -> None:
    admin = lab.admin()

    for path, key in (("/policies", "policies"), ("/plans", "plans")):
        found = admin.get(f"{path}?all_tenants=1&name=nightly").json()[key]
        bound = [[each["id"] for each in policy["resources"]] for policy in found]
        assert bound == [[FOREIGN], [WEB]]
        assert len({policy["project_id"] for policy in found}) == 2
        if path == "/policies":
            assert [policy["tags"][0]["value"] for policy in found] == ["3", "1"]
        assert len(admin.get(path).json()[key]) == 1
