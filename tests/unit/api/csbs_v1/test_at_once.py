"""Calls that meet each other: each is done or refused, by the right code, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import httpx

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import DATABASE, PATTERN, PROVIDER, WEB, CsbsLab, is_error

Call = Callable[[], httpx.Response]
TIMES = 8


def at_once(*calls: Call) -> list[httpx.Response]:
    """All of them begun at the same moment."""
    barrier = Barrier(len(calls))

    def begun(call: Call) -> httpx.Response:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begun, calls))


def split(answers: Sequence[httpx.Response]) -> tuple[list[Any], list[httpx.Response]]:
    """What was done, and what was refused."""
    done = [each.json() if each.content else {} for each in answers if each.status_code < 300]
    return done, [each for each in answers if each.status_code >= 300]


def new_policy(lab: CsbsLab, name: str, *servers: str) -> httpx.Response:
    operation = {
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {},
        "trigger": {"properties": {"pattern": PATTERN}},
    }
    policy = {
        "name": name,
        "provider_id": PROVIDER_ID,
        "parameters": {},
        "resources": [{"id": each} for each in servers],
        "scheduled_operations": [operation],
    }
    return lab.mia.post("/policies", {"policy": policy})


def run(lab: CsbsLab, policy_id: str) -> httpx.Response:
    return lab.mia.post(f"{PROVIDER}/checkpoints", {"checkpoint": {"plan_id": policy_id}})


def test_of_protects_at_once_one_begins(lab: CsbsLab) -> None:
    done, refused = split(at_once(*[lambda: lab.mia.protect(WEB, backup_name="b")] * TIMES))

    assert len(done) == 1
    assert all(is_error(each, 400, "CSBS.6005") for each in refused)
    assert len(refused) == TIMES - 1
    assert len(lab.runner.held) == 1
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 1}


def test_of_servers_that_are_protected_at_once_each_is(lab: CsbsLab) -> None:
    done, refused = split(at_once(lambda: lab.mia.protect(WEB), lambda: lab.mia.protect(DATABASE)))

    assert (len(done), refused) == (2, [])


def test_a_backup_that_is_made_is_not_deleted(lab: CsbsLab) -> None:
    checkpoint = lab.mia.protect(WEB).json()["checkpoint"]["id"]
    path = f"{PROVIDER}/checkpoints/{checkpoint}"

    assert is_error(lab.mia.delete(path), 400, "CSBS.2003")
    lab.finish()
    done, refused = split(at_once(*[lambda: lab.mia.delete(path)] * TIMES))

    assert (done, refused) == ([{}] * TIMES, [])
    assert len(lab.runner.held) == 1, "there is one deletion"
    lab.finish()
    assert is_error(lab.mia.delete(path), 404, "CSBS.3001")


def test_of_a_restore_and_a_deletion_at_once_one_begins(lab: CsbsLab) -> None:
    item = lab.back_up(WEB)
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]

    restored, deleted = at_once(
        lambda: lab.mia.restore(item, volumes),
        lambda: lab.mia.delete(f"{PROVIDER}/checkpoints/{item['checkpoint_id']}"),
    )

    assert {restored.status_code, deleted.status_code} == {200, 400}
    if restored.status_code == 400:
        assert restored.json()["error_code"] in {"CSBS.4000", "CSBS.6005", "CSBS.2003"}
    else:
        assert is_error(deleted, 400, "CSBS.2003")
    assert len(lab.runner.held) == 1


def test_of_policies_of_one_name_at_once_one_is_made(lab: CsbsLab) -> None:
    done, refused = split(at_once(*[lambda: new_policy(lab, "nightly")] * TIMES))

    assert len(done) == 1
    assert all(is_error(each, 400, "CSBS.9007") for each in refused)


def test_of_policies_that_bind_a_server_at_once_one_does(lab: CsbsLab) -> None:
    done, refused = split(at_once(*[partial(new_policy, lab, f"p{n}", WEB) for n in range(TIMES)]))

    assert len(done) == 1
    assert all(is_error(each, 400, "CSBS.6004") for each in refused)


def test_of_runs_of_a_policy_at_once_one_begins(lab: CsbsLab) -> None:
    policy = new_policy(lab, "nightly", WEB, DATABASE).json()["policy"]["id"]

    done, refused = split(at_once(*[lambda: run(lab, policy)] * TIMES))

    assert len(lab.runner.held) == 2, "each server is backed up once"
    codes = {each.json()["error_code"] for each in refused}
    assert codes <= {"CSBS.1001", "CSBS.6032"}
    begun = [each for each in done if each["checkpoint"]["status"] == "protecting"]
    assert begun


def test_a_policy_may_be_changed_and_deleted_while_it_runs(lab: CsbsLab) -> None:
    policy = new_policy(lab, "nightly", WEB).json()["policy"]["id"]
    checkpoint = run(lab, policy).json()["checkpoint"]["id"]

    change = {"policy": {"name": "renamed", "resources": [{"id": DATABASE}]}}
    changed = lab.mia.put(f"/policies/{policy}", change)
    again = run(lab, policy)
    shown = lab.mia.get(f"{PROVIDER}/checkpoints/{checkpoint}").json()["checkpoint"]
    deleted = lab.mia.delete(f"/policies/{policy}")

    assert changed.status_code == 200
    assert is_error(again, 500, "CSBS.1001")
    assert shown["protection_plan"]["name"] == "renamed"
    assert deleted.status_code == 200
    lab.finish()
    after = lab.mia.get(f"{PROVIDER}/checkpoints/{checkpoint}").json()["checkpoint"]
    assert after["status"] == "available"
    assert after["protection_plan"]["id"] == policy
    assert is_error(run(lab, policy), 404, "CSBS.3000")


def test_a_policy_that_is_deleted_changed_and_run_at_once(lab: CsbsLab) -> None:
    policy = new_policy(lab, "nightly", WEB).json()["policy"]["id"]
    change = {"policy": {"description": "new"}}

    deleted, changed, ran = at_once(
        lambda: lab.mia.delete(f"/policies/{policy}"),
        lambda: lab.mia.put(f"/policies/{policy}", change),
        lambda: run(lab, policy),
    )

    assert deleted.status_code == 200
    for each in (changed, ran):
        assert each.status_code == 200 or is_error(each, 404, "CSBS.3000")


def test_tags_that_are_given_at_once_are_all_there(lab: CsbsLab) -> None:
    item = lab.back_up(WEB)["id"]
    path = f"/csbs_backup/{item}/tags"

    done, refused = split(
        at_once(
            *[
                partial(lab.mia.post, path, {"tag": {"key": f"k{n}", "value": ""}})
                for n in range(TIMES)
            ]
        )
    )

    assert (len(done), refused) == (TIMES, [])
    assert len(lab.mia.get(path).json()["tags"]) == TIMES
