"""Every field of every body: missing, null, of a wrong type, too long, too deep.

Made from a table of whole bodies.  A field of the code that the table does not have fails a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import httpx
import pytest
from pydantic import BaseModel

from csbs.api.csbs_v1.wire import bodies, quotas, tag_bodies
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from tests.unit.api.csbs_v1.lab import (
    DATABASE,
    PATTERN,
    PROVIDER,
    WEB,
    Caller,
    CsbsLab,
    csbs_lab,
    folder_in_memory,
    is_error,
)

SERVER = "OS::Nova::Server"
TAG = {"key": "k", "value": "v"}
WANTED = [{"key": "k", "values": ["v"]}]
VOLUMES = [{"backup_id": "x", "volume_id": "y"}]
RESOURCE = {
    "id": DATABASE,
    "type": SERVER,
    "name": "database",
    "extra_info": {"exclude_volumes": ["x"]},
}
OPERATION = {
    "id": "old",
    "name": "s1",
    "description": "d",
    "enabled": True,
    "operation_type": "backup",
    "operation_definition": {
        "permanent": False,
        "max_backups": 3,
        "retention_duration_days": 4,
        "day_backups": 1,
        "week_backups": 1,
        "month_backups": 1,
        "year_backups": 1,
        "timezone": "UTC+08:00",
    },
    "trigger": {"properties": {"pattern": PATTERN}},
    "trigger_id": "old",
}
PLAN = {
    "name": "made",
    "description": "d",
    "provider_id": PROVIDER_ID,
    "parameters": {"common": {"app_consistency": 0}},
    "resources": [RESOURCE],
}
POLICY = PLAN | {"scheduled_operations": [OPERATION], "tags": [TAG]}
PROTECT = {
    "backup_name": "n",
    "description": "d",
    "incremental": True,
    "resource_type": SERVER,
    "extra_info": {"exclude_volumes": ["x"]},
    "app_consistency": 0,
    "tags": [TAG],
}
PARAMETERS = {
    "checkpoint_item_id": "{item}",
    "power_on": True,
    "targets": {"server_id": WEB, "resource_type": SERVER, "volumes": VOLUMES},
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call with a body that has all that may be there."""

    method: str
    path: str
    model: type[BaseModel]
    body: dict[str, Any]


CALLS = {
    "protect": Call(
        "POST", f"{PROVIDER}/resources/{WEB}/action", bodies.ProtectBody, {"protect": PROTECT}
    ),
    "protectable": Call(
        "POST",
        f"{PROVIDER}/resources/action",
        bodies.CheckBody,
        {"check_protectable": [{"resource_id": WEB, "resource_type": SERVER}]},
    ),
    "restorable": Call(
        "POST",
        f"{PROVIDER}/resources/action",
        bodies.CheckBody,
        {
            "check_restorable": [
                {
                    "checkpoint_item_id": "{item}",
                    "target": {"resource_id": WEB, "resource_type": SERVER, "volumes": VOLUMES},
                }
            ]
        },
    ),
    "run": Call(
        "POST",
        f"{PROVIDER}/checkpoints",
        bodies.RunBody,
        {
            "checkpoint": {
                "plan_id": "{policy}",
                "parameters": {"auto_trigger": False, "resources": [WEB]},
            }
        },
    ),
    "restore": Call(
        "POST",
        "/restores",
        bodies.RestoreBody,
        {
            "restore": {
                "provider_id": PROVIDER_ID,
                "checkpoint_id": "{run}",
                "parameters": PARAMETERS,
                "restore_target": "",
            }
        },
    ),
    "new policy": Call("POST", "/policies", bodies.NewPolicyBody, {"policy": POLICY}),
    "policy": Call("PUT", "/policies/{policy}", bodies.PolicyChangeBody, {"policy": POLICY}),
    "new plan": Call("POST", "/plans", bodies.NewPlanBody, {"plan": PLAN}),
    "plan": Call(
        "PUT",
        "/plans/{policy}",
        bodies.PlanChangeBody,
        {"plan": {name: value for name, value in PLAN.items() if name != "provider_id"}},
    ),
    "tag": Call("POST", "/csbs_backup/{item}/tags", bodies.TagBody, {"tag": TAG}),
    "tags": Call(
        "POST",
        "/csbs_backup_policy/{policy}/tags/action",
        bodies.TagsActionBody,
        {"action": "create", "tags": [TAG]},
    ),
    "tagged": Call(
        "POST",
        "/csbs_backup/resource_instances/action",
        tag_bodies._FilterBody,
        {
            "action": "filter",
            "limit": "1",
            "offset": "0",
            "tags": WANTED,
            "tags_any": WANTED,
            "not_tags": WANTED,
            "not_tags_any": WANTED,
            "matches": [{"key": "resource_name", "value": "w"}],
        },
    ),
    "quota": Call(
        "PUT",
        "/quotas/{project}",
        quotas._QuotaBody,
        {"quota": {"backups": 9000, "backup_capacity": 9000, "plans": 9000}},
    ),
    "quota in other words": Call(
        "PUT", "/quotas/{project}", quotas._QuotaBody, {"quota": {"checkpoints": 9000}}
    ),
}


Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def lab() -> Iterator[CsbsLab]:
    with folder_in_memory() as folder, csbs_lab(folder) as made:
        yield made


@pytest.fixture(scope="module")
def names(lab: CsbsLab) -> dict[str, str]:
    item = lab.back_up(DATABASE)
    resources = [{"id": WEB, "type": SERVER, "name": "web"}]
    plan = PLAN | {"name": "kept", "resources": resources}
    made = lab.mia.post("/plans", {"plan": plan}).json()["plan"]
    return {
        "item": item["id"],
        "run": item["checkpoint_id"],
        "policy": made["id"],
        "project": lab.project_id,
    }


# --- the table has every field ----------------------------------------------------------------


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (name,)
        for part in parts_of(field.annotation):
            yield from ((name, *rest) for rest in fields_of(part))


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models in an annotation, however they are wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Annotated, Union, UnionType, list}:
        for each in get_args(annotation):
            yield from parts_of(each)


def places_of(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where something is in a body."""
    if place:
        yield place
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places_of(each, (*place, name))
    elif isinstance(value, list):
        yield from places_of(value[0], (*place, 0))


def test_the_bodies_have_every_field_that_is_read() -> None:
    known: dict[type[BaseModel], set[tuple[str, ...]]] = {}
    for call in CALLS.values():
        found = {tuple(str(each) for each in place if each != 0) for place in places_of(call.body)}
        known.setdefault(call.model, set()).update(found)

    for model, found in known.items():
        assert set(fields_of(model)) <= found, model


def test_every_body_of_the_room_is_in_the_table() -> None:
    tops = {
        each
        for module in (bodies, tag_bodies, quotas)
        for name, each in vars(module).items()
        if name.endswith("Body") and name != "Body" and isinstance(each, type)
    }

    assert {call.model for call in CALLS.values()} == tops


# --- and each is wrong in its turn ------------------------------------------------------------

CASES = [
    pytest.param(name, place, id=f"{name}: {'.'.join(map(str, place))}")
    for name, call in CALLS.items()
    for place in places_of(call.body)
]

#: Not among these: numbers and truth values that may come as texts.
WRONG: dict[type, list[Any]] = {
    str: [7, True, {}],
    bool: ["perhaps", 7, []],
    int: ["1e3", {}, 1.5, 10**39],
    list: ["x", {}],
    dict: ["x", 7],
}
#: Numbers that clients of the tag query write as texts are taken as numbers too.
TEXTS_OR_NUMBERS = {"limit", "offset"}


def deep() -> Any:
    found: Any = []
    for _ in range(40):
        found = [found]
    return found


def changed(body: Any, place: Place, change: Callable[[Any, Any], None]) -> Any:
    copy = deepcopy(body)
    parent = copy
    for each in place[:-1]:
        parent = parent[each]
    change(parent, place[-1])
    return copy


def with_value(body: Any, place: Place, value: Any) -> Any:
    def put(parent: Any, last: Any) -> None:
        parent[last] = value

    return changed(body, place, put)


def without(body: Any, place: Place) -> Any:
    def drop(parent: Any, last: Any) -> None:
        del parent[last]

    return changed(body, place, drop)


def filled(value: Any, names: dict[str, str]) -> Any:
    """With the ids of what is there."""
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if isinstance(value, str) and value.startswith("{"):
        return names[value.strip("{}")]
    return value


def send(lab: CsbsLab, call: Call, names: dict[str, str], body: Any) -> httpx.Response:
    """The answer; what it began is ended, and what it made is taken away."""
    caller: Caller = lab.admin() if call.model is quotas._QuotaBody else lab.mia
    answer = caller.call(call.method, call.path.format(**names), filled(body, names))
    if answer.status_code < 300:
        lab.finish()
        for kind, path in (("policy", "/policies"), ("plan", "/plans")):
            if call.method == "POST" and answer.content and kind in answer.json():
                lab.mia.delete(f"{path}/{answer.json()[kind]['id']}")
    return answer


def is_told(answer: httpx.Response) -> bool:
    """Whether it was done, or refused by a code of the protocol in one sentence."""
    if answer.status_code < 300:
        return True
    body = answer.json()
    assert answer.status_code in {400, 404} or body["error_code"] == "CSBS.6032", answer.text
    return is_error(answer, answer.status_code, body["error_code"])


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_wrong_value_is_refused(
    lab: CsbsLab, names: dict[str, str], name: str, place: Place
) -> None:
    call = CALLS[name]
    value: Any = call.body
    for each in place:
        value = value[each]
    wrong = list(WRONG[type(value)])
    if place[-1] in TEXTS_OR_NUMBERS:
        wrong.remove(7)
    if isinstance(value, str):
        wrong.append("x" * 12_000)
    if len(place) == 1:
        wrong.append(deep())

    for each in wrong:
        answer = send(lab, call, names, with_value(call.body, place, each))
        assert is_error(answer, 400, "CSBS.9001"), repr(each)[:80]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_what_is_missing_or_null_is_taken_or_refused_alike(
    lab: CsbsLab, names: dict[str, str], name: str, place: Place
) -> None:
    call = CALLS[name]

    null = send(lab, call, names, with_value(call.body, place, None))
    missing = send(lab, call, names, without(call.body, place))

    assert is_told(null)
    assert is_told(missing)
    if place[-1] != 0:  # an element of a list that is null is none
        assert null.status_code == missing.status_code


@pytest.mark.parametrize("name", CALLS)
def test_unknown_keys_say_nothing(lab: CsbsLab, names: dict[str, str], name: str) -> None:
    call = CALLS[name]
    plain = send(lab, call, names, call.body)

    for place in places_of(call.body):
        if not isinstance(place[-1], str):
            continue
        unknown = {"unknown": [{"a": None}, 1.5, "x"]}

        def add(parent: Any, _last: Any, unknown: dict[str, Any] = unknown) -> None:
            parent.update(unknown)

        answer = send(lab, call, names, changed(call.body, place, add))
        assert answer.status_code == plain.status_code, (place, answer.text)
