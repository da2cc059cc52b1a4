"""The native API keeps its OpenAPI document: generated requests against the running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import positive_data_acceptance

from csbs.api.native.room import openapi_document
from csbs.domain.ids import ProjectId
from csbs.testing.live_api import LiveApi, live_api

MIB = 1024**2

#: But the call that checks a password: who calls it often has to wait (503), as it should be.
schema = schemathesis.openapi.from_dict(openapi_document()).exclude(
    path="/native/v1/users/me/password"
)
# The gate refuses what no database keeps, whatever the call.
schema.config.generation.update(allow_x00=False, codec="utf-8")

#: What no schema says: that the third of two shares is none, that two times are an hour apart and
#: weekdays go with times, which letters a tag has.
UNCHECKED: dict[str, list[CheckFunction]] = {
    "POST /native/v1/projects/{project_id}/policies": [positive_data_acceptance],
    "PATCH /native/v1/projects/{project_id}/policies/{policy}": [positive_data_acceptance],
    "POST /native/v1/projects/{project_id}/servers/{server}/tags": [positive_data_acceptance],
    "POST /native/v1/projects/{project_id}/repository/verifications": [positive_data_acceptance],
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        running.driver.add_server("web", {"vda": MIB})
        running.region.project_app(ProjectId(running.project_id)).stores.init()
        yield running


@pytest.fixture(scope="module")
def token(api: LiveApi) -> str:
    return api.log_in()


@schema.parametrize()
@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
def test_a_generated_request_is_answered_as_documented(
    case: Case[Any], api: LiveApi, token: str
) -> None:
    if "project_id" in case.path_parameters:
        case.path_parameters["project_id"] = api.project_id
    response = case.call(base_url=api.url, headers={"X-Auth-Token": token})

    assert response.status_code < 500, response.text
    case.validate_response(response, excluded_checks=UNCHECKED.get(case.operation.label, []))


def test_the_document_is_what_the_service_shows(api: LiveApi) -> None:
    shown = api.client.get("/native/v1/openapi.json").json()

    assert shown == json.loads(json.dumps(openapi_document()))
