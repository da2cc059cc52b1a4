"""Every field of every body, wrong: the documented code, one sentence, nothing begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import (
    PROVIDER,
    UNKNOWN,
    WEB,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)

SERVER = "OS::Nova::Server"
PROTECT = f"{PROVIDER}/resources/{WEB}/action"
CHECK = f"{PROVIDER}/resources/action"
RUN = f"{PROVIDER}/checkpoints"


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        yield made


def restore(**changes: Any) -> dict[str, Any]:
    return {
        "restore": {
            "provider_id": PROVIDER_ID,
            "checkpoint_id": UNKNOWN,
            "parameters": parameters(),
        }
        | changes
    }


def parameters(**changes: Any) -> dict[str, Any]:
    return {
        "checkpoint_item_id": UNKNOWN,
        "power_on": True,
        "targets": {"server_id": WEB, "volumes": []},
    } | changes


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


def question(**changes: Any) -> dict[str, Any]:
    return {"check_protectable": [{"resource_id": WEB, "resource_type": SERVER} | changes]}


def restorable(**changes: Any) -> dict[str, Any]:
    target = {"resource_id": WEB, "resource_type": SERVER, "volumes": []} | changes
    return {"check_restorable": [{"checkpoint_item_id": UNKNOWN, "target": target}]}


WRONG_PROTECT: list[Any] = [
    None,
    [],
    "now",
    {"backup_name": ""},
    {"backup_name": "x" * 256},
    {"backup_name": "a b"},
    {"backup_name": "a/b"},
    {"backup_name": 7},
    {"description": "x" * 256},
    {"description": "<b>"},
    {"description": []},
    {"incremental": "true"},
    {"incremental": 1},
    {"resource_type": "OS::Cinder::Volume"},
    {"resource_type": 7},
    {"extra_info": "none"},
    {"extra_info": {"exclude_volumes": "all"}},
    {"extra_info": {"exclude_volumes": [7]}},
    {"extra_info": {"exclude_volumes": [""]}},
    {"app_consistency": 3},
    {"app_consistency": -1},
    {"app_consistency": "often"},
    {"app_consistency": True},
    {"tags": []},
    {"tags": {}},
    {"tags": [{"value": "x"}]},
    {"tags": [{"key": "a"}, {"key": "a"}]},
    {"tags": [{"key": "k" * 37}]},
]

WRONG: list[tuple[str, Any]] = [
    *((PROTECT, {"protect": protect}) for protect in WRONG_PROTECT),
    (PROTECT, {}),
    (PROTECT, {"check_protectable": []}),
    (CHECK, question(resource_id=7)),
    (CHECK, question(resource_id="")),
    (CHECK, question(resource_id="x" * 65)),
    (CHECK, question(resource_type=7)),
    (CHECK, {"check_protectable": {}}),
    (CHECK, {"check_protectable": [{}]}),
    (CHECK, {"check_protectable": [{"resource_id": WEB}] * 501}),
    (CHECK, {"check_restorable": [{}]}),
    (CHECK, {"check_restorable": [{"checkpoint_item_id": UNKNOWN}]}),
    (CHECK, restorable(resource_id=None)),
    (CHECK, restorable(volumes={})),
    (CHECK, restorable(volumes=[{"backup_id": "x"}])),
    (RUN, {}),
    (RUN, {"checkpoint": {}}),
    (RUN, {"checkpoint": {"plan_id": 7}}),
    (RUN, {"checkpoint": {"plan_id": ""}}),
    (RUN, {"checkpoint": {"plan_id": UNKNOWN, "parameters": []}}),
    (RUN, {"checkpoint": {"plan_id": UNKNOWN, "parameters": {"auto_trigger": "no"}}}),
    (RUN, {"checkpoint": {"plan_id": UNKNOWN, "parameters": {"resources": WEB}}}),
    (RUN, {"checkpoint": {"plan_id": UNKNOWN, "parameters": {"resources": [7]}}}),
    ("/restores", {}),
    ("/restores", {"restore": []}),
    ("/restores", restore(provider_id=UNKNOWN)),
    ("/restores", restore(provider_id=None)),
    ("/restores", restore(checkpoint_id=7)),
    ("/restores", restore(restore_target=7)),
    ("/restores", restore(parameters=[])),
    *[
        ("/restores", restore(parameters=without(parameters(), name)))
        for name in ("checkpoint_item_id", "power_on", "targets")
    ],
    ("/restores", restore(parameters=parameters(power_on="yes"))),
    ("/restores", restore(parameters=parameters(checkpoint_item_id=7))),
    ("/restores", restore(parameters=parameters(targets=[]))),
    ("/restores", restore(parameters=parameters(targets={"server_id": WEB}))),
    ("/restores", restore(parameters=parameters(targets={"volumes": []}))),
    (
        "/restores",
        restore(parameters=parameters(targets={"server_id": WEB, "volumes": [{"backup_id": "x"}]})),
    ),
    ("/plans", {}),
    ("/plans", {"plan": {"name": "p"}}),
    ("/csbs_backup/x/tags", {}),
    ("/csbs_backup/x/tags", {"tag": "x"}),
    ("/csbs_backup/x/tags/action", {"tags": [{"key": "a"}]}),
    ("/csbs_backup/resource_instances/action", []),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_a_wrong_body_is_refused_and_begins_nothing(lab: CsbsLab, path: str, body: Any) -> None:
    assert is_error(lab.mia.post(path, body), 400, "CSBS.9001")
    assert lab.mia.get("/checkpoint_items/count").json() == {"count": 0}
    assert lab.runner.held == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'{"protect": NaN}', b'{"protect": {"description": "\\u0000"}}'],
)
def test_a_body_that_is_no_json_object_is_refused(lab: CsbsLab, content: bytes) -> None:
    headers = lab.mia.headers | {"Content-Type": "application/json"}

    answer = lab.mia.call("POST", PROTECT, content=content, headers=headers)

    assert is_error(answer, 400, "CSBS.9001")


def test_a_body_of_more_than_a_mebibyte_is_refused(lab: CsbsLab) -> None:
    body = {"protect": {"description": "x" * 1024**2}}

    assert is_error(lab.mia.post(PROTECT, body), 413, "CSBS.9001")


def test_deep_json_is_refused(lab: CsbsLab) -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"protect": deep}

    assert is_error(lab.mia.post(PROTECT, deep), 400, "CSBS.9001")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_content_type_without_a_body_is_fine(lab: CsbsLab, method: str) -> None:
    headers = lab.mia.headers | {"Content-Type": "application/json", "Accept": ""}

    answer = lab.mia.call(method, f"/policies/{UNKNOWN}", headers=headers)

    assert is_error(answer, 404, "CSBS.3000")


def test_calls_that_are_not_there(lab: CsbsLab) -> None:
    assert is_error(lab.mia.get("/nonsense"), 404, "CSBS.9998")
    assert is_error(lab.mia.call("PATCH", "/policies"), 405, "CSBS.9998")


def test_an_id_of_any_length_is_just_not_found(lab: CsbsLab) -> None:
    assert is_error(lab.mia.get("/checkpoint_items/" + "x" * 3000), 404, "CSBS.3001")
    assert is_error(lab.mia.get("/policies/%ff"), 404, "CSBS.3000")
    # Databases take no NUL: nothing is asked of them.
    assert is_error(lab.mia.get("/policies/%00"), 404, "CSBS.9998")
    assert is_error(lab.mia.get("/policies?name=%00"), 400, "CSBS.9001")


def test_karborclient_gets_the_shape_that_it_can_read(lab: CsbsLab) -> None:
    headers = lab.mia.headers | {"User-Agent": "python-karborclient keystoneauth1/5"}

    answer = lab.mia.call("GET", f"{PROVIDER}/checkpoints/{UNKNOWN}", headers=headers)

    message = f"[CSBS.3001] Backup ({UNKNOWN}) is not found."
    assert answer.status_code == 404
    assert answer.json() == {"itemNotFound": {"code": 404, "message": message}}
