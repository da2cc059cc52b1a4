"""otcextensions, and openstacksdk and keystoneauth below it, work unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.testing.live_api import ADMIN_PASSWORD
from tests.integration.clients.conftest import Served
from tests.integration.clients.environments import drive


def password(served: Served) -> dict[str, Any]:
    auth = {
        "auth_url": served.keystone,
        "username": "admin",
        "password": ADMIN_PASSWORD,
        "project_name": "local",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return {"auth": auth}


def token(served: Served) -> dict[str, Any]:
    auth = {
        "auth_url": served.keystone,
        "token": served.api.log_in(),
        "project_id": served.api.project_id,
    }
    return {"auth_type": "token", "auth": auth}


def endpoint_given(served: Served) -> dict[str, Any]:
    endpoint = f"{served.api.url}/v1/{served.api.project_id}"
    return {**password(served), "data_protect_endpoint_override": endpoint}


@pytest.mark.parametrize("connect", [password, token, endpoint_given])
def test_a_whole_day(served: Served, connect: Any) -> None:
    done = drive("otc", {"connect": connect(served), "server": served.server.id})

    assert done["project"] == served.api.project_id
    assert done["projects"] == ["local"]
    assert done["services"] == ["csbs", "data-protect", "identity"]
    assert done["protectable"]["protectable"][0]["result"] is True
    item = done["item"]
    assert (item["name"], item["status"]) == ("by-otc", "available")
    assert item["backup_data"]["vcpus"] == 2
    assert done["restore"] == "in_progress"
    assert done["restored"] == "available"
    assert done["tags"] == [{"key": "env", "value": "test"}, {"key": "more", "value": ""}]
    assert done["tagged"] == ["by-otc"]
    assert "CSBS.3001" in done["refusal"]
    assert done["gone"] == 404
