"""Policies: made, read, changed, deleted, run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.domain.server import ServerState
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
RUN = f"{PROVIDER}/checkpoints"


def operation(**changes: Any) -> dict[str, Any]:
    return {
        "name": "s1",
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {
            "max_backups": 20,
            "retention_duration_days": -1,
            "permanent": False,
        },
        "trigger": {"properties": {"pattern": PATTERN}},
    } | changes


def new_policy(**changes: Any) -> dict[str, Any]:
    policy = {
        "name": "nightly",
        "description": "every night",
        "provider_id": PROVIDER_ID,
        "parameters": {"common": {}},
        "resources": [{"id": WEB, "type": SERVER, "name": "web01"}],
        "scheduled_operations": [operation()],
    }
    return {"policy": policy | changes}


def create(lab: CsbsLab, **changes: Any) -> dict[str, Any]:
    answer = lab.mia.post("/policies", new_policy(**changes))
    assert answer.status_code == 200, answer.text
    policy: dict[str, Any] = answer.json()["policy"]
    return policy


def test_a_policy_comes_back_as_it_was_made(lab: CsbsLab) -> None:
    policy = create(lab, tags=[{"key": "env", "value": "test"}])

    (schedule,) = policy["scheduled_operations"]
    assert (policy["name"], policy["description"]) == ("nightly", "every night")
    assert policy["status"] == "suspended"
    assert (policy["provider_id"], policy["project_id"]) == (PROVIDER_ID, lab.project_id)
    assert policy["parameters"] == {"common": {}}
    assert policy["tags"] == [{"key": "env", "value": "test"}]
    assert policy["resources"] == [{"id": WEB, "type": SERVER, "name": "web01", "extra_info": {}}]
    assert schedule["operation_definition"] == {
        "max_backups": 20,
        "retention_duration_days": -1,
        "permanent": False,
        "plan_id": policy["id"],
        "provider_id": PROVIDER_ID,
    }
    assert schedule["trigger_id"] == schedule["trigger"]["id"]
    assert schedule["trigger"]["type"] == "time"
    properties = schedule["trigger"]["properties"]
    assert properties["pattern"] == PATTERN
    assert properties["format"] == "ical"
    assert properties["start_time"].replace(" ", "T") == policy["created_at"][:19]
    assert lab.mia.get(f"/policies/{policy['id']}").json() == {"policy": policy}
    assert lab.mia.get("/policies").json() == {"policies": [policy]}


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ({}, (True, -1, -1)),
        ({"permanent": True, "max_backups": 5}, (True, 5, -1)),
        ({"permanent": False}, (False, -1, -1)),
        ({"max_backups": "20", "permanent": "False"}, (False, 20, -1)),
        ({"max_backups": "-1", "retention_duration_days": "30"}, (False, -1, 30)),
        ({"max_backups": 0, "permanent": False}, (False, 0, -1)),
    ],
)
def test_retention_is_numbers_and_a_truth_value_whatever_came(
    lab: CsbsLab, given: dict[str, Any], returned: tuple[Any, ...]
) -> None:
    policy = create(lab, scheduled_operations=[operation(operation_definition=given)])

    definition = policy["scheduled_operations"][0]["operation_definition"]
    found = tuple(
        definition[name] for name in ("permanent", "max_backups", "retention_duration_days")
    )
    assert found == returned
    assert [type(each) for each in found] == [bool, int, int]


def test_retention_by_day_week_month_and_year_comes_back(lab: CsbsLab) -> None:
    given = {"day_backups": 7, "week_backups": "4", "month_backups": 12, "timezone": "UTC+08:00"}

    policy = create(lab, scheduled_operations=[operation(operation_definition=given)])

    definition = policy["scheduled_operations"][0]["operation_definition"]
    assert {name: definition[name] for name in given} == given | {"week_backups": 4}
    assert "year_backups" not in definition


@pytest.mark.parametrize(
    "definition",
    [
        {"max_backups": 100_000},
        {"max_backups": -2},
        {"retention_duration_days": 100_000},
        {"max_backups": "many"},
        {"max_backups": 1.5},
        {"max_backups": True},
        {"permanent": "perhaps"},
        {"day_backups": 7},
        {"day_backups": 7, "timezone": "Mars/Olympus"},
    ],
)
def test_retention_that_makes_no_sense_is_refused(lab: CsbsLab, definition: dict[str, Any]) -> None:
    answer = lab.mia.post(
        "/policies",
        new_policy(scheduled_operations=[operation(operation_definition=definition)]),
    )

    assert is_error(answer, 400, "CSBS.9001")


def never_due() -> str:
    """Every seven days from today on, but on another weekday."""
    names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
    day = names[(datetime.now(UTC).weekday() + 3) % 7]
    return f"RRULE:FREQ=DAILY;INTERVAL=7;BYDAY={day};BYHOUR=1;BYMINUTE=0"


EVERY_HOUR = ",".join(str(hour) for hour in range(24))


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (never_due(), "pattern: it never runs: every 7 days from "),
        (
            "RRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=0\nRRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=59",
            "Monday 02:00 and Monday 02:59 are 59 minutes apart, at least 60 are needed",
        ),
        (
            (
                "RRULE:FREQ=WEEKLY;BYDAY=SU;BYHOUR=23;BYMINUTE=30\n"
                "RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=0;BYMINUTE=29"
            ),
            "Sunday 23:30 and Monday 00:29 are 59 minutes apart",
        ),
        (
            (
                f"RRULE:FREQ=DAILY;BYHOUR={EVERY_HOUR};BYMINUTE=0\n"
                "RRULE:FREQ=WEEKLY;BYDAY=SA;BYHOUR=7;BYMINUTE=30"
            ),
            "it runs 25 times on Saturday, at most 24",
        ),
        ("RRULE:FREQ=MINUTELY", "FREQ must be DAILY or WEEKLY"),
        ("RRULE:FREQ=DAILY;BYHOUR=24", "BYHOUR must be hours from 0 to 23"),
        ("RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number from 1 to 366"),
    ],
)
def test_a_pattern_is_refused_with_what_to_mend(lab: CsbsLab, pattern: str, why: str) -> None:
    trigger = {"properties": {"pattern": pattern}}
    policy = create(lab)
    bad = {"scheduled_operations": [operation(trigger=trigger)]}

    for answer in (
        lab.mia.post("/policies", new_policy(name="another", **bad)),
        lab.mia.put(f"/policies/{policy['id']}", {"policy": bad}),
    ):
        assert is_error(answer, 400, "CSBS.9001")
        assert why in answer.json()["error_msg"]
        assert "..." not in answer.json()["error_msg"]


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ({"day_backups": 7}, "timezone: it is needed to keep backups by day, week or longer"),
        ({"timezone": "Mars/Olympus"}, "write it like UTC+08:00 or Europe/Berlin"),
        ({"timezone": "UTC+15:00"}, "write it like UTC+08:00 or Europe/Berlin"),
        ({"max_backups": -2}, "max_backups: use a number from 0 to 99999, or -1"),
    ],
)
def test_retention_is_refused_with_what_to_mend(
    lab: CsbsLab, definition: dict[str, Any], why: str
) -> None:
    answer = lab.mia.post(
        "/policies",
        new_policy(scheduled_operations=[operation(operation_definition=definition)]),
    )

    assert is_error(answer, 400, "CSBS.9001")
    assert why in answer.json()["error_msg"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": "a b"},
        {"name": 7},
        {"description": "a<b"},
        {"description": "x" * 256},
        {"provider_id": UNKNOWN},
        {"parameters": []},
        {"parameters": {"common": {"app_consistency": 3}}},
        {"resources": {}},
        {"resources": [{"type": SERVER}]},
        {"resources": [{"id": WEB, "type": "OS::Cinder::Volume", "name": "x"}]},
        {"resources": [{"id": WEB}, {"id": WEB}]},
        {"resources": [{"id": WEB, "extra_info": {"exclude_volumes": "all"}}]},
        {"scheduled_operations": []},
        {"scheduled_operations": [operation(), operation()]},
        {"scheduled_operations": [operation(operation_type="replication")]},
        {"scheduled_operations": [operation(operation_type=None)]},
        {"scheduled_operations": [operation(enabled=None)]},
        {"scheduled_operations": [operation(enabled="maybe")]},
        {"scheduled_operations": [operation(operation_definition=None)]},
        {"scheduled_operations": [operation(trigger=None)]},
        {"scheduled_operations": [operation(trigger={"properties": {}})]},
        {"scheduled_operations": [operation(trigger={"properties": {"pattern": "soon"}})]},
        {"scheduled_operations": [operation(trigger={"properties": {"pattern": "x" * 10_241}})]},
        {"tags": []},
        {"tags": [{"key": "a"}, {"key": "a"}]},
        {"tags": [{"key": "a b"}]},
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    lab: CsbsLab, changes: dict[str, Any]
) -> None:
    answer = lab.mia.post("/policies", new_policy(**changes))

    assert is_error(answer, 400, "CSBS.9001")
    assert lab.mia.get("/policies").json() == {"policies": []}


@pytest.mark.parametrize(
    "missing", ["name", "provider_id", "parameters", "resources", "scheduled_operations"]
)
def test_a_part_that_is_missing_is_named(lab: CsbsLab, missing: str) -> None:
    body = new_policy()
    del body["policy"][missing]

    answer = lab.mia.post("/policies", body)

    assert is_error(answer, 400, "CSBS.9001")
    assert missing in answer.json()["error_msg"]


def test_names_are_unique(lab: CsbsLab) -> None:
    create(lab)
    other = create(lab, name="other", resources=[])

    again = lab.mia.post("/policies", new_policy(resources=[]))
    renamed = lab.mia.put(f"/policies/{other['id']}", {"policy": {"name": "nightly"}})

    assert is_error(again, 400, "CSBS.9007")
    assert is_error(renamed, 400, "CSBS.9007")


def test_a_server_is_bound_to_one_policy(lab: CsbsLab) -> None:
    first = create(lab)
    other = create(lab, name="other", resources=[])
    bound = [{"id": WEB, "type": SERVER, "name": "web"}]

    made = lab.mia.post("/policies", new_policy(name="third"))
    changed = lab.mia.put(f"/policies/{other['id']}", {"policy": {"resources": bound}})
    lab.mia.delete(f"/policies/{first['id']}")
    freed = lab.mia.put(f"/policies/{other['id']}", {"policy": {"resources": bound}})

    assert is_error(made, 400, "CSBS.6004")
    assert is_error(changed, 400, "CSBS.6004")
    assert freed.status_code == 200


def test_a_server_that_is_not_there_is_not_bound(lab: CsbsLab) -> None:
    unknown = [{"id": UNKNOWN, "type": SERVER, "name": "x"}]

    assert is_error(lab.mia.post("/policies", new_policy(resources=unknown)), 400, "CSBS.6000")


def test_bare_metal_is_not_bound(lab: CsbsLab) -> None:
    metal = [{"id": WEB, "type": "OS::Ironic::BareMetalServer", "name": "x"}]

    assert is_error(lab.mia.post("/policies", new_policy(resources=metal)), 400, "CSBS.6003")


def test_a_policy_has_at_most_64_servers(lab: CsbsLab) -> None:
    many = [{"id": f"s{number}", "type": SERVER, "name": "x"} for number in range(65)]

    assert is_error(lab.mia.post("/policies", new_policy(resources=many)), 400, "CSBS.9006")


def test_a_policy_has_at_most_ten_tags(lab: CsbsLab) -> None:
    tags = [{"key": f"k{number}", "value": ""} for number in range(11)]

    assert is_error(lab.mia.post("/policies", new_policy(tags=tags)), 400, "CSBS.7000")


def test_a_project_has_at_most_32_policies(lab: CsbsLab) -> None:
    lab.admin().put(f"/quotas/{lab.project_id}", {"quota": {"plans": 2}})
    for number in range(2):
        create(lab, name=f"p{number}", resources=[])

    answer = lab.mia.post("/policies", new_policy(name="one-more", resources=[]))

    assert is_error(answer, 400, "CSBS.0001")
    assert len(lab.mia.get("/policies").json()["policies"]) == 2


# --- changes ----------------------------------------------------------------------------------


def change(lab: CsbsLab, policy: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = lab.mia.put(f"/policies/{policy['id']}", {"policy": changes})
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()["policy"]
    return changed


def without_time(policy: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in policy.items() if name != "updated_at"}


@pytest.mark.parametrize(
    "says_nothing",
    [
        {},
        {"parameters": {}},
        {"parameters": None, "resources": None, "scheduled_operations": None, "name": None},
        {"scheduled_operations": []},
        {
            "scheduled_operations": [
                {
                    "enabled": True,
                    "trigger": {"properties": {"pattern": ""}},
                    "operation_definition": {"permanent": False},
                }
            ]
        },
    ],
)
def test_a_change_that_says_nothing_changes_nothing(
    lab: CsbsLab, says_nothing: dict[str, Any]
) -> None:
    policy = create(lab)

    assert without_time(change(lab, policy, **says_nothing)) == without_time(policy)


def test_permanent_false_alone_says_nothing(lab: CsbsLab) -> None:
    """Clients send it with whatever they change."""
    kept = operation() | {"operation_definition": {"permanent": True}}
    policy = create(lab, scheduled_operations=[kept])

    alone = {"operation_definition": {"permanent": False}}
    changed = change(lab, policy, scheduled_operations=[alone])

    [told] = changed["scheduled_operations"]
    assert told["operation_definition"]["permanent"] is True


def test_a_change_leaves_what_it_does_not_name(lab: CsbsLab) -> None:
    policy = create(lab)

    changed = change(lab, policy, name="weekly", parameters={"common": {"app_consistency": "2"}})

    assert changed["name"] == "weekly"
    assert changed["parameters"] == {"common": {"app_consistency": "2"}}
    assert changed["scheduled_operations"] == policy["scheduled_operations"]
    assert changed["resources"] == policy["resources"]


def test_a_schedule_is_switched_off_and_keeps_its_ids(lab: CsbsLab) -> None:
    policy = create(lab)
    old = policy["scheduled_operations"][0]

    changed = change(lab, policy, scheduled_operations=[{"id": old["id"], "enabled": False}])

    (new,) = changed["scheduled_operations"]
    assert new == old | {"enabled": False}
    assert changed["status"] == "suspended"


def test_retention_changes_number_by_number(lab: CsbsLab) -> None:
    policy = create(lab)
    definition = {"retention_duration_days": 30, "permanent": False}

    changed = change(
        lab, policy, scheduled_operations=[{"operation_definition": definition, "enabled": True}]
    )

    found = changed["scheduled_operations"][0]["operation_definition"]
    assert (found["max_backups"], found["retention_duration_days"]) == (20, 30)


def test_a_policy_that_is_not_there(lab: CsbsLab) -> None:
    assert is_error(lab.mia.get(f"/policies/{UNKNOWN}"), 404, "CSBS.3000")
    assert is_error(lab.mia.put(f"/policies/{UNKNOWN}", {"policy": {}}), 404, "CSBS.3000")
    assert is_error(lab.mia.delete(f"/policies/{UNKNOWN}"), 404, "CSBS.3000")
    run = {"checkpoint": {"plan_id": UNKNOWN}}
    assert is_error(lab.mia.post(RUN, run), 404, "CSBS.3000")


def test_a_deleted_policy_is_gone_and_its_backups_stay(lab: CsbsLab) -> None:
    policy = create(lab)
    lab.mia.post(RUN, {"checkpoint": {"plan_id": policy["id"]}})
    lab.finish()

    answer = lab.mia.delete(f"/policies/{policy['id']}")

    assert (answer.status_code, answer.json()) == (200, {})
    assert is_error(lab.mia.get(f"/policies/{policy['id']}"), 404, "CSBS.3000")
    count = lab.mia.get(f"/checkpoint_items/count?policy_id={policy['id']}").json()
    assert count == {"count": 1}


# --- runs -------------------------------------------------------------------------------------

BOTH = [
    {"id": WEB, "type": SERVER, "name": "web"},
    {"id": DATABASE, "type": SERVER, "name": "database"},
]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"extra-info": None},
        {"parameters": {"auto_trigger": False}},
        {"parameters": {"resources": None}},
    ],
)
def test_a_run_backs_up_all_servers_in_one_record(lab: CsbsLab, more: dict[str, Any]) -> None:
    policy = create(lab, resources=BOTH)

    answer = lab.mia.post(RUN, {"checkpoint": {"plan_id": policy["id"], **more}})

    checkpoint = answer.json()["checkpoint"]
    items = lab.mia.get(f"/checkpoint_items?checkpoint_id={checkpoint['id']}").json()
    assert answer.status_code == 200
    assert checkpoint["protection_plan"]["id"] == policy["id"]
    assert checkpoint["protection_plan"]["name"] == "nightly"
    assert {each["resource_id"] for each in items["checkpoint_items"]} == {WEB, DATABASE}


def test_a_run_of_some_servers(lab: CsbsLab) -> None:
    policy = create(lab, resources=BOTH)
    wanted = {"plan_id": policy["id"], "parameters": {"resources": [DATABASE]}}

    checkpoint = lab.mia.post(RUN, {"checkpoint": wanted}).json()["checkpoint"]

    assert [each["id"] for each in checkpoint["protection_plan"]["resources"]] == [DATABASE]


def test_a_run_by_a_scheduler_is_said_to_be_one(lab: CsbsLab) -> None:
    policy = create(lab)
    wanted = {"plan_id": policy["id"], "parameters": {"auto_trigger": True}}

    lab.mia.post(RUN, {"checkpoint": wanted})

    (item,) = lab.mia.get("/checkpoint_items").json()["checkpoint_items"]
    assert item["extend_info"]["auto_trigger"] is True
    assert item["name"].startswith("autobk_")


def test_a_run_leaves_out_disks_as_the_policy_says(lab: CsbsLab) -> None:
    first = lab.back_up(WEB)
    left_out = first["extend_info"]["volume_backups"][1]["source_volume_id"]
    extra = {"exclude_volumes": [left_out], "note": "mine"}
    policy = create(lab, resources=[{"id": WEB, "type": SERVER, "name": "w", "extra_info": extra}])

    lab.mia.post(RUN, {"checkpoint": {"plan_id": policy["id"]}})

    item = lab.mia.get(f"/checkpoint_items?policy_id={policy['id']}").json()["checkpoint_items"][0]
    assert policy["resources"][0]["extra_info"] == extra
    assert [each["source_volume_name"] for each in item["extend_info"]["volume_backups"]] == ["vda"]


def test_a_second_run_waits_for_the_end_of_the_first(lab: CsbsLab) -> None:
    policy = create(lab)
    run = {"checkpoint": {"plan_id": policy["id"]}}
    lab.mia.post(RUN, run)

    during = lab.mia.post(RUN, run)
    lab.finish()
    after = lab.mia.post(RUN, run)

    assert is_error(during, 500, "CSBS.1001")
    assert after.status_code == 200


def test_a_server_that_cannot_be_backed_up_leaves_an_error_in_the_run(lab: CsbsLab) -> None:
    policy = create(lab, resources=BOTH)
    lab.driver.change(DATABASE, state=ServerState.CRASHED)

    lab.mia.post(RUN, {"checkpoint": {"plan_id": policy["id"]}})

    items = lab.mia.get("/checkpoint_items").json()["checkpoint_items"]
    by_server = {each["resource_id"]: each for each in items}
    failed = by_server[DATABASE]
    assert by_server[WEB]["status"] == "protecting"
    assert failed["status"] == "error"
    assert failed["extend_info"]["fail_op"] == "backup"
    assert failed["extend_info"]["fail_code"]["Code"] == "CSBS.6005"
    assert failed["checkpoint_id"] == by_server[WEB]["checkpoint_id"]


def test_a_policy_without_servers_that_can_be_backed_up_is_not_run(lab: CsbsLab) -> None:
    empty, policy = create(lab, resources=[], name="empty"), create(lab)
    lab.driver.change(WEB, state=ServerState.CRASHED)

    without = lab.mia.post(RUN, {"checkpoint": {"plan_id": empty["id"]}})
    crashed = lab.mia.post(RUN, {"checkpoint": {"plan_id": policy["id"]}})

    assert is_error(without, 500, "CSBS.6032")
    assert is_error(crashed, 500, "CSBS.6032")
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 0}


def test_a_server_of_another_policy_is_not_run(lab: CsbsLab) -> None:
    policy = create(lab)
    wanted = {"plan_id": policy["id"], "parameters": {"resources": [DATABASE]}}

    assert is_error(lab.mia.post(RUN, {"checkpoint": wanted}), 400, "CSBS.9001")
