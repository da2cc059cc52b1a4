"""Lists: filters, sorting, pages, links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.unit.api.csbs_v1.lab import (
    DATABASE,
    UNKNOWN,
    WEB,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    """Four backups: a, b, c of web and d of the database; c failed."""
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        made.back_up(WEB, backup_name="a-first")
        made.back_up(WEB, backup_name="b-second")
        made.mia.protect(WEB, backup_name="c-third")
        made.fail()
        made.back_up(DATABASE, backup_name="d-fourth")
        yield made


def names(lab: CsbsLab, query: str) -> list[str]:
    answer = lab.mia.get(f"/checkpoint_items?{query}")
    assert answer.status_code == 200, answer.text
    return [each["name"][0] for each in answer.json()["checkpoint_items"]]


def item(lab: CsbsLab, name: str) -> dict[str, Any]:
    found = lab.mia.get(f"/checkpoint_items?name={name}").json()["checkpoint_items"]
    (only,) = found
    return dict(only)


def test_the_newest_comes_first(lab: CsbsLab) -> None:
    assert names(lab, "") == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=error", "c"),
        ("status=available", "dba"),
        ("status=deleting", ""),
        (f"resource_id={WEB}", "cba"),
        (f"resource_id={UNKNOWN}", ""),
        ("name=-s", "b"),
        ("name=nothing", ""),
        ("resource_name=base", "d"),
        ("az=local", "dcba"),
        ("az=elsewhere", ""),
        ("image_type=backup", "dcba"),
        ("image_type=replication", ""),
        ("ip=10.0.0.5", ""),
        ("dec=false", "dcba"),
        ("dec=true", ""),
        ("all_tenants=1", "dcba"),
        ("resource_type=OS::Nova::Server", "dcba"),
        ("resource_type=OS::Ironic::BareMetalServer", ""),
        ("resource_type=OS::Nova::Server&resource_type=OS::Ironic::BareMetalServer", "dcba"),
        ("resource_type=OS%3A%3AIronic%3A%3ABareMetalServer,OS::Nova::Server", "dcba"),
        (f"policy_id={UNKNOWN}", ""),
        ("start_time=2001-01-01T00:00:00", "dcba"),
        ("start_time=2999-01-01T00:00:00", ""),
        ("end_time=2001-01-01T00:00:00Z", ""),
        ("end_time=2999-01-01", "dcba"),
        (f"status=available&resource_id={WEB}&name=first", "a"),
        ("status=", "dcba"),
        ("nobody_knows=this", "dcba"),
    ],
)
def test_filters(lab: CsbsLab, query: str, found: str) -> None:
    assert names(lab, query) == list(found)
    count = lab.mia.get(f"/checkpoint_items/count?{query}").json()
    assert count == {"count": len(found)}


def test_a_run_is_a_filter(lab: CsbsLab) -> None:
    assert names(lab, f"checkpoint_id={item(lab, 'b-second')['checkpoint_id']}") == ["b"]


def test_the_range_of_times_has_its_ends(lab: CsbsLab) -> None:
    first, second = item(lab, "b-second")["created_at"], item(lab, "c-third")["created_at"]

    assert names(lab, f"start_time={first}&end_time={second}") == ["c", "b"]


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("name:asc", "abcd"),
        ("name", "dcba"),
        ("name:desc", "dcba"),
        ("created_at:asc", "abcd"),
        ("updated_at:ASC,id", "abcd"),
        ("protected_at", "dcba"),
        ("status:asc,name:asc", "abdc"),
        ("status,name", "cdba"),
    ],
)
def test_sorting(lab: CsbsLab, sort: str, found: str) -> None:
    assert names(lab, f"sort={sort}") == list(found)


@pytest.mark.parametrize(
    "query",
    [
        "sort=size",
        "sort=name:up",
        "sort=" + "name," * 60,
        "limit=0",
        "limit=-1",
        "limit=many",
        "limit=99999999999",
        "offset=-1",
        f"marker={UNKNOWN}",
        "status=well",
        "image_type=x",
        "start_time=yesterday",
        "end_time=2031-13-01",
        "all_tenants=perhaps",
        "dec=7",
        "name=%00",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(lab: CsbsLab, query: str) -> None:
    assert is_error(lab.mia.get(f"/checkpoint_items?{query}"), 400, "CSBS.9001")


def test_counting_ignores_sorting_and_pages(lab: CsbsLab) -> None:
    query = "sort=size&limit=0&marker=x&offset=3"

    assert lab.mia.get(f"/checkpoint_items/count?{query}").json() == {"count": 4}


def test_offset_leaves_out_the_first(lab: CsbsLab) -> None:
    assert names(lab, "offset=1&limit=2") == ["c", "b"]
    assert names(lab, "offset=9") == []


def test_a_marker_goes_on_behind_it_until_nothing_is_left(lab: CsbsLab) -> None:
    seen: list[str] = []
    query = "limit=3"
    while True:
        page = lab.mia.get(f"/checkpoint_items?{query}").json()["checkpoint_items"]
        if not page:
            break
        seen += [each["name"][0] for each in page]
        query = f"limit=3&marker={page[-1]['id']}"

    assert seen == ["d", "c", "b", "a"]


def test_a_marker_that_does_not_fit_the_filter_any_more_is_still_a_place(lab: CsbsLab) -> None:
    assert names(lab, f"status=available&marker={item(lab, 'c-third')['id']}") == ["b", "a"]


def test_links_lead_through_all_pages(lab: CsbsLab) -> None:
    answer = lab.mia.get("/checkpoint_items?limit=2&status=available&sort=name:asc").json()

    (link,) = answer["checkpoint_items_links"]
    target = urlsplit(link["href"])
    rest = lab.mia.client.get(link["href"], headers=lab.mia.headers).json()
    assert link["rel"] == "next"
    assert (target.scheme, target.path) == ("http", f"{lab.mia.base}/checkpoint_items")
    assert target.netloc == lab.mia.client.base_url.netloc.decode()
    assert "checkpoint_items_links" not in rest
    assert [each["name"][0] for each in rest["checkpoint_items"]] == ["d"]


def test_links_do_not_repeat_a_parameter(lab: CsbsLab) -> None:
    query = "limit=1&resource_type=OS::Nova::Server&resource_type=OS::Ironic::BareMetalServer"

    (link,) = lab.mia.get(f"/checkpoint_items?{query}").json()["checkpoint_items_links"]

    assert urlsplit(link["href"]).query.count("resource_type=") == 1
    rest = lab.mia.client.get(link["href"], headers=lab.mia.headers).json()
    assert [each["name"][0] for each in rest["checkpoint_items"]] == ["c"]


def test_the_last_page_has_no_links_even_if_it_is_full(lab: CsbsLab) -> None:
    assert set(lab.mia.get("/checkpoint_items?limit=4").json()) == {"checkpoint_items"}


def test_a_list_has_one_array_beside_its_links(lab: CsbsLab) -> None:
    for path in (
        "/checkpoint_items?limit=1",
        "/policies",
        "/restores",
        "/plans",
        "/operation_logs?limit=1",
        "/triggers",
        "/scheduled_operations",
        "/replication_records",
    ):
        body = lab.mia.get(path).json()
        arrays = [name for name, value in body.items() if isinstance(value, list)]
        assert len([name for name in arrays if not name.endswith("_links")]) == 1


def test_policies_are_listed_by_name_and_page(lab: CsbsLab) -> None:
    for name in ("p1", "p2", "p3"):
        plan: dict[str, Any] = {
            "name": name,
            "provider_id": "fc4d5750-22e7-4798-8a46-f48f62c4c1da",
            "parameters": {},
            "resources": [],
        }
        assert lab.mia.post("/plans", {"plan": plan}).status_code == 200

    page = lab.mia.get("/policies?sort=name:asc&limit=2").json()
    rest = lab.mia.client.get(page["policies_links"][0]["href"], headers=lab.mia.headers).json()

    assert [each["name"] for each in page["policies"]] == ["p1", "p2"]
    assert [each["name"] for each in rest["policies"]] == ["p3"]
    assert [each["name"] for each in lab.mia.get("/policies?name=p2").json()["policies"]] == ["p2"]
    assert lab.mia.get("/policies?name=p").json() == {"policies": []}
