"""Policies and tags of servers over our own API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.testing.live_api import LiveApi, live_api
from tests.unit.api.people import add_people, of_project

MIB = 1024**2
NUMBERS = iter(range(1, 1000))
#: Over today, whenever the test runs: the service runs policies meanwhile.
LATER = {"at": ["00:00"], "every_days": 300}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        for name in ("web", "db"):
            running.driver.add_server(name, {"vda": MIB})
        add_people(running)
        yield running


def made(api: LiveApi, member: httpx.Client, **body: Any) -> dict[str, Any]:
    wanted = {"name": f"p{next(NUMBERS)}"} | body
    answer = member.post(of_project(api, "policies"), json=wanted)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_policy_says_when_it_runs_and_what_it_keeps(api: LiveApi, member: httpx.Client) -> None:
    policy = made(
        api,
        member,
        at=["02:30", "14:00"],
        days=["thu", "mon"],
        timezone="Asia/Shanghai",
        retention={"max_backups": 20, "day_backups": 7, "max_age_days": -1},
    )

    schedule = policy["schedule"]
    assert schedule["times"] == [{"days": ["mon", "thu"], "at": ["02:30", "14:00"]}]
    assert (schedule["enabled"], schedule["timezone"]) == (True, "Asia/Shanghai")
    assert schedule["next_run_at"] == schedule["next_due"][0]
    assert all(each[11:16] in {"18:30", "06:00"} for each in schedule["next_due"])
    assert len(schedule["next_due"]) == 5
    assert schedule["longest_gap_s"] == (3 * 24 + 12) * 3600 + 1800
    kept = {name: value for name, value in schedule["retention"].items() if value is not None}
    assert kept.items() >= {"max_backups": 20, "day_backups": 7, "permanent": False}.items()
    assert (policy["auto_bind"], policy["servers"], policy["runs"]) == (None, [], [])
    shown = member.get(of_project(api, f"policies/{policy['name']}")).json()
    assert shown | {"schedule": None} == policy | {"schedule": None}
    listed = member.get(of_project(api, "policies")).json()["policies"]
    assert policy["id"] in {each["id"] for each in listed}


def test_a_policy_is_changed_part_by_part(api: LiveApi, member: httpx.Client) -> None:
    policy = made(api, member, **LATER, retention={"max_backups": 3})
    path = of_project(api, f"policies/{policy['id']}")

    off = member.patch(path, json={"enabled": False}).json()
    assert (off["schedule"]["next_run_at"], off["schedule"]["retention"]["max_backups"]) == (
        None,
        3,
    )
    renamed = member.patch(path, json={"name": f"{policy['name']}-2", "description": "d"}).json()
    assert renamed["schedule"]["enabled"] is False
    daily = member.patch(path, json={"at": ["00:00"], "every_days": 200, "enabled": True}).json()
    assert daily["schedule"]["every_days"] == 200
    assert daily["schedule"]["next_run_at"] is not None
    assert member.delete(path).json() == {"deleted": policy["id"], "name": renamed["name"]}
    assert member.get(path).status_code == 404


def test_servers_are_bound_let_go_and_backed_up(api: LiveApi, member: httpx.Client) -> None:
    policy = made(api, member, servers=["web"], **LATER)
    path = of_project(api, f"policies/{policy['id']}")
    assert [each["name"] for each in policy["servers"]] == ["web"]
    taken = member.post(of_project(api, "policies"), json={"name": "other", "servers": ["web"]})
    assert (taken.status_code, taken.json()["error"]["kind"]) == (409, "refused")
    both = member.post(f"{path}/bind", json={"servers": ["db", "web"]}).json()
    assert [each["name"] for each in both["servers"]] == ["web", "db"]

    begun = member.post(f"{path}/run", json={"servers": ["db"]})
    assert begun.status_code == 202
    [backup] = begun.json()["backups"]
    assert (backup["server"]["name"], backup["policy_id"]) == ("db", policy["id"])
    assert begun.json()["policy"] == {"id": policy["id"], "name": policy["name"]}

    one = member.post(f"{path}/unbind", json={"servers": ["web"]}).json()
    assert [each["name"] for each in one["servers"]] == ["db"]
    gone = member.post(f"{path}/unbind", json={"servers": ["web"]})
    assert (gone.status_code, gone.json()["error"]["message"]) == (
        400,
        f"servers: 'web' is not bound to policy {policy['name']}",
    )
    member.delete(path)


def test_a_tag_binds_a_server(api: LiveApi, member: httpx.Client) -> None:
    policy = made(api, member, auto_bind={"env": "prod"}, **LATER)
    path = of_project(api, "servers/db/tags")

    tagged = member.post(path, json={"tags": {"env": "prod", "tier": "1"}}).json()
    assert tagged["policy"] == {"id": policy["id"], "name": policy["name"]}
    assert member.get(path).json() == tagged
    less = member.post(path, json={"remove": ["tier"]}).json()
    assert less["tags"] == {"env": "prod"}
    member.delete(of_project(api, f"policies/{policy['id']}"))
    assert member.get(path).json()["policy"] is None


def test_people_know_a_server_by_its_own_name(api: LiveApi, member: httpx.Client) -> None:
    """Clients of the cloud bind servers under any name."""
    [web] = [
        each
        for each in member.get(of_project(api, "servers")).json()["servers"]
        if each["name"] == "web"
    ]
    operation = {
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {},
        "trigger": {"properties": {"pattern": "RRULE:FREQ=DAILY;INTERVAL=300;BYHOUR=0"}},
    }
    policy = {
        "name": f"p{next(NUMBERS)}",
        "provider_id": "fc4d5750-22e7-4798-8a46-f48f62c4c1da",
        "parameters": {},
        "resources": [{"id": web["id"], "type": "OS::Nova::Server", "name": "what-i-like"}],
        "scheduled_operations": [operation],
    }
    answer = member.post(f"/v1/{api.project_id}/policies", json={"policy": policy})
    assert answer.json()["policy"]["resources"][0]["name"] == "what-i-like"

    path = of_project(api, f"policies/{policy['name']}")
    assert member.get(path).json()["servers"] == [{"id": web["id"], "name": "web"}]
    refused = member.post(of_project(api, "policies"), json={"name": "other", "servers": ["web"]})
    assert "server web is bound to policy " in refused.json()["error"]["message"]
    left = member.post(f"{path}/unbind", json={"servers": ["web"]})
    assert left.json()["servers"] == []


HOURS = [f"{hour:02}:00" for hour in range(24)]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"at": [*HOURS, "00:30"]}, "at most 24"),
        ({"at": ["02:30", "03:29"]}, "Monday 02:30 and Monday 03:29 are 59 minutes apart"),
        ({"at": ["23:30", "00:29"]}, "Monday 23:30 and Tuesday 00:29 are 59 minutes apart"),
        ({"at": ["24:00"]}, "'24:00' is no time of the day"),
        ({"at": []}, "say the times of the day"),
        ({"at": ["02:30"], "days": ["someday"]}, "'someday' is none of mon, tue"),
        ({"at": ["02:30"], "days": ["mon"], "every_days": 2}, "not both"),
        ({"at": ["02:30"], "every_days": 0}, "1 to 366 days"),
        ({"days": ["mon"]}, "say the times of the day"),
        ({"retention": {"max_backups": 3}}, "say at which times of the day"),
        ({"at": ["02:30"], "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"at": ["02:30"], "retention": {"max_backups": 100_000}}, "99999"),
        ({"at": ["02:30"], "retention": {"most": 1}}, "there is no such field"),
        ({"servers": ["web", "web"]}, "twice"),
        ({"name": "a b"}, "letters, digits"),
        ({"auto_bind": {"a b": "c"}}, "letters, digits"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    api: LiveApi, member: httpx.Client, body: dict[str, Any], why: str
) -> None:
    answer = member.post(of_project(api, "policies"), json={"name": "nonsense"} | body)

    assert answer.status_code == 400, answer.text
    assert why in answer.json()["error"]["message"]
    assert member.get(of_project(api, "policies/nonsense")).status_code == 404


def test_a_reader_looks_and_changes_nothing(
    api: LiveApi, member: httpx.Client, reader: httpx.Client
) -> None:
    policy = made(api, member, **LATER)
    path = of_project(api, f"policies/{policy['id']}")
    assert reader.get(path).status_code == 200
    for answer in (
        reader.post(of_project(api, "policies"), json={"name": "mine"}),
        reader.patch(path, json={"enabled": False}),
        reader.delete(path),
        reader.post(f"{path}/bind", json={"servers": ["web"]}),
        reader.post(f"{path}/unbind", json={"servers": ["web"]}),
        reader.post(f"{path}/run", json={}),
        reader.post(of_project(api, "servers/web/tags"), json={"tags": {"a": "b"}}),
    ):
        assert answer.status_code == 403
    assert reader.get(path).json()["schedule"]["enabled"] is True
