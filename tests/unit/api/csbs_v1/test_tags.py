"""Tags of backups and of policies."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import UNKNOWN, WEB, CsbsLab, is_error


@pytest.fixture
def owner(lab: CsbsLab, kind: str) -> str:
    """The path of an object of the kind."""
    if kind == "csbs_backup":
        return f"/{kind}/{lab.back_up(backup_name='web-1')['id']}"
    plan = {"name": "web-1", "provider_id": PROVIDER_ID, "parameters": {}, "resources": []}
    return f"/{kind}/{lab.mia.post('/plans', {'plan': plan}).json()['plan']['id']}"


KINDS = pytest.mark.parametrize("kind", ["csbs_backup", "csbs_backup_policy"])
NOT_FOUND = {"csbs_backup": "CSBS.3001", "csbs_backup_policy": "CSBS.3000"}


def tags(lab: CsbsLab, owner: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = lab.mia.get(f"{owner}/tags").json()["tags"]
    return found


@KINDS
def test_a_tag_is_added_overwritten_and_deleted(lab: CsbsLab, owner: str) -> None:
    answers = [
        lab.mia.post(f"{owner}/tags", {"tag": {"key": " env ", "value": "test"}}),
        lab.mia.post(f"{owner}/tags", {"tag": {"key": "env", "value": " prod "}}),
        lab.mia.post(f"{owner}/tags", {"tag": {"key": "empty"}}),
    ]
    given = tags(lab, owner)
    deleted = lab.mia.delete(f"{owner}/tags/env")

    assert [(each.status_code, each.content) for each in [*answers, deleted]] == [(204, b"")] * 4
    assert given == [{"key": "empty", "value": ""}, {"key": "env", "value": "prod"}]
    assert tags(lab, owner) == [{"key": "empty", "value": ""}]
    assert is_error(lab.mia.delete(f"{owner}/tags/env"), 404, "CSBS.7001")


@KINDS
def test_several_tags_at_once(lab: CsbsLab, owner: str) -> None:
    pairs = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]

    created = lab.mia.post(f"{owner}/tags/action", {"action": "create", "tags": pairs})
    both = tags(lab, owner)
    absent = {"key": "x" * 127, "value": "y" * 255}
    body = {"action": "delete", "tags": [pairs[0], absent]}
    deleted = lab.mia.post(f"{owner}/tags/action", body)

    assert (created.status_code, deleted.status_code) == (204, 204)
    assert both == pairs
    assert tags(lab, owner) == pairs[1:]


@KINDS
@pytest.mark.parametrize(
    "tag",
    [
        {"key": "", "value": "x"},
        {"key": "  ", "value": "x"},
        {"key": "k" * 37, "value": "x"},
        {"key": "k", "value": "v" * 44},
        {"key": "a=b", "value": "x"},
        {"key": "k", "value": "a b"},
        {"key": 7, "value": "x"},
        {"value": "x"},
        None,
    ],
)
def test_a_tag_that_makes_no_sense_is_refused(lab: CsbsLab, owner: str, tag: Any) -> None:
    assert is_error(lab.mia.post(f"{owner}/tags", {"tag": tag}), 400, "CSBS.9001")
    assert tags(lab, owner) == []


@KINDS
@pytest.mark.parametrize(
    "body",
    [
        {"action": "change", "tags": [{"key": "a"}]},
        {"action": "create", "tags": []},
        {"action": "create"},
        {"action": "create", "tags": [{"key": "a"}, {"key": "a"}]},
        {"action": "delete", "tags": [{"key": "x" * 128}]},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(lab: CsbsLab, owner: str, body: Any) -> None:
    assert is_error(lab.mia.post(f"{owner}/tags/action", body), 400, "CSBS.9001")


@KINDS
def test_an_object_has_ten_tags_at_most(lab: CsbsLab, owner: str) -> None:
    ten = [{"key": f"k{number}", "value": ""} for number in range(10)]
    lab.mia.post(f"{owner}/tags/action", {"action": "create", "tags": ten})

    one_more = lab.mia.post(f"{owner}/tags", {"tag": {"key": "k10"}})
    overwritten = lab.mia.post(f"{owner}/tags", {"tag": {"key": "k9", "value": "new"}})

    assert is_error(one_more, 400, "CSBS.7000")
    assert overwritten.status_code == 204


def test_a_backup_gets_ten_tags_at_most_when_it_is_made(lab: CsbsLab) -> None:
    eleven = [{"key": f"k{number}", "value": ""} for number in range(11)]

    assert is_error(lab.mia.protect(WEB, tags=eleven), 400, "CSBS.7000")
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 0}
    assert lab.runner.held == []


@KINDS
def test_objects_that_are_not_there_have_no_tags(lab: CsbsLab, kind: str) -> None:
    path = f"/{kind}/{UNKNOWN}/tags"
    code = NOT_FOUND[kind]

    assert is_error(lab.mia.get(path), 404, code)
    assert is_error(lab.mia.post(path, {"tag": {"key": "a"}}), 404, code)
    assert is_error(lab.mia.delete(f"{path}/a"), 404, code)
    body = {"action": "delete", "tags": [{"key": "a"}]}
    assert is_error(lab.mia.post(f"{path}/action", body), 404, code)


def test_there_are_no_other_kinds(lab: CsbsLab) -> None:
    assert is_error(lab.mia.get("/csbs_server/tags"), 404, "CSBS.9998")


@KINDS
def test_a_project_lists_its_keys_with_their_values(lab: CsbsLab, kind: str, owner: str) -> None:
    lab.mia.post(f"{owner}/tags", {"tag": {"key": "env", "value": "test"}})

    assert lab.mia.get(f"/{kind}/tags").json() == {"tags": [{"key": "env", "values": ["test"]}]}


@pytest.fixture
def tagged(lab: CsbsLab) -> CsbsLab:
    """Backups: one with env=test and team=a, one with env=prod, one without."""
    both = [{"key": "env", "value": "test"}, {"key": "team", "value": "a"}]
    lab.back_up(backup_name="one-test", tags=both)
    lab.back_up(backup_name="two-prod", tags=[{"key": "env", "value": "prod"}])
    lab.back_up(backup_name="three")
    return lab


FIND = "/csbs_backup/resource_instances/action"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["three", "two-prod", "one-test"]),
        ({"tags": [{"key": "env", "values": []}]}, ["two-prod", "one-test"]),
        ({"tags": [{"key": "env", "values": ["test", "prod"]}]}, ["two-prod", "one-test"]),
        ({"tags": [{"key": "env", "values": ["test"]}]}, ["one-test"]),
        ({"tags": [{"key": "env", "values": ["*es"]}]}, ["one-test"]),
        ({"tags": [{"key": "env", "values": []}, {"key": "team"}]}, ["one-test"]),
        (
            {"tags_any": [{"key": "team"}, {"key": "env", "values": ["prod"]}]},
            ["two-prod", "one-test"],
        ),
        ({"not_tags": [{"key": "env"}, {"key": "team"}]}, ["three", "two-prod"]),
        ({"not_tags_any": [{"key": "env"}]}, ["three"]),
        ({"matches": [{"key": "resource_name", "value": "t"}]}, ["three", "two-prod", "one-test"]),
        ({"matches": [{"key": "resource_name", "value": "-"}]}, ["two-prod", "one-test"]),
    ],
)
def test_objects_are_found_by_tags(tagged: CsbsLab, wanted: Any, found: list[str]) -> None:
    answer = tagged.mia.post(FIND, {"action": "filter", **wanted}).json()
    count = tagged.mia.post(FIND, {"action": "count", **wanted}).json()

    assert [each["resource_name"] for each in answer["resources"]] == found
    assert answer["total_count"] == len(found)
    assert count == {"total_count": len(found)}


def test_a_page_of_what_was_found(tagged: CsbsLab) -> None:
    body = {"action": "filter", "limit": "1", "offset": "1"}

    answer = tagged.mia.post(FIND, body).json()

    (resource,) = answer["resources"]
    assert resource["resource_name"] == "two-prod"
    assert resource["tags"] == [{"key": "env", "value": "prod"}]
    assert resource["resource_detail"]["id"] == resource["resource_id"]
    assert answer["total_count"] == 3


def test_a_policy_is_found_without_details(lab: CsbsLab) -> None:
    plan = {"name": "p", "provider_id": PROVIDER_ID, "parameters": {}, "resources": []}
    lab.mia.post("/plans", {"plan": plan})

    answer = lab.mia.post(
        "/csbs_backup_policy/resource_instances/action", {"action": "filter"}
    ).json()

    assert answer["resources"][0]["resource_detail"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "delete"},
        {"action": "filter", "limit": "0"},
        {"action": "filter", "limit": "1001"},
        {"action": "filter", "offset": "-1"},
        {"action": "filter", "tags": [{"key": ""}]},
        {"action": "filter", "tags": [{"key": "a"}, {"key": "a"}]},
        {"action": "filter", "tags": [{"key": str(number)} for number in range(11)]},
        {"action": "filter", "tags": [{"key": "a", "values": ["x"] * 11}]},
        {"action": "filter", "matches": [{"key": "colour", "value": "x"}]},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(lab: CsbsLab, body: Any) -> None:
    assert is_error(lab.mia.post(FIND, body), 400, "CSBS.9001")
